#!/usr/bin/env bash
# Every call of Autoenhance's API, against a service of yours:
#   BASE_URL=http://127.0.0.1:8000/autoenhance API_KEY=bk_live_… PHOTO=photo.jpg bash autoenhance.sh
set -euo pipefail

call() { # method, path, and what else curl is told
    curl -sS --fail-with-body -X "$1" "$BASE_URL$2" -H "x-api-key: $API_KEY" "${@:3}"
}
json() { # method, path, body
    call "$1" "$2" -H 'Content-Type: application/json' -d "$3"
}
member() { # the text under a name in JSON
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}
until_it_says() { # word, path
    for _ in $(seq 120); do
        said=$(call GET "$2")
        if grep -q "$1" <<<"$said"; then echo "$said"; return; fi
        sleep 0.5
    done
    echo "$said" >&2
    exit 1
}

echo "# Register an image, send its bytes"
made=$(json POST /v3/images/ '{"image_name": "kitchen.jpg", "enhance_type": "warm", "metadata": {"room": "kitchen"}}')
echo "$made"
image=$(member image_id <<<"$made")
curl -sS --fail-with-body -o /dev/null -X PUT "$(member upload_url <<<"$made")" \
    -H 'Content-Type: application/octet-stream' --data-binary "@$PHOTO"

echo "# Until it is done; no key is needed for that"
until_it_says '"enhanced":true' "/v3/images/$image"
curl -sS --fail-with-body "$BASE_URL/v3/images/$image" -o /dev/null -w '%{http_code}\n'

echo "# A preview, the original, the whole picture, and that as WebP"
picture() { # path
    call GET "$1" -o /dev/null -w '%{content_type} %{size_download}\n'
}
picture "/v3/images/$image/preview"
picture "/v3/images/$image/original"
picture "/v3/images/$image/enhanced?preview=false"
picture "/v3/images/$image/enhanced?preview=false&format=webp&max_width=300&quality=80"

echo "# Say what is wrong with it, and have it processed again"
json POST "/v3/images/$image/report" '{"categories": ["COLOUR"], "score": 2, "comment": "too warm"}'
json POST "/v3/images/$image/process" '{"enhance_type": "neutral"}'
until_it_says '"enhanced":true' "/v3/images/$image"

echo "# An order of brackets"
order=$(json POST /v3/orders/ '{"name": "12 Main Street"}' | member order_id)
for name in dark.jpg middle.jpg bright.jpg; do
    bracket=$(json POST /v3/brackets/ "{\"name\": \"$name\", \"order_id\": \"$order\"}")
    curl -sS --fail-with-body -o /dev/null -X PUT "$(member upload_url <<<"$bracket")" --data-binary "@$PHOTO"
done
call GET "/v3/brackets/$(member bracket_id <<<"$bracket")"
call GET "/v3/orders/$order/brackets"
json POST "/v3/orders/$order/process" '{"number_of_brackets_per_image": 3}'
until_it_says '"is_processing":false' "/v3/orders/$order"

echo "# The same once more, as it was called before and without a body: nothing is left to merge"
call POST "/v3/orders/$order/merge"

echo "# Rename it, list orders, delete what was made"
json PATCH "/v3/orders/$order" '{"name": "14 Main Street"}'
call GET '/v3/orders/?per_page=1'
call DELETE "/v3/brackets/$(member bracket_id <<<"$bracket")"
call DELETE "/v3/images/$image"
call DELETE "/v3/orders/$order"
echo "done"
