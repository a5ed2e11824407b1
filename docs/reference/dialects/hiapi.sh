#!/usr/bin/env bash
# Every call of HiAPI's API, against a service of yours; with a test key nothing is paid and nothing is needed:
#   BASE_URL=http://127.0.0.1:8000/hiapi API_KEY=bk_test_… bash hiapi.sh
set -euo pipefail

call() { # curl's own words
    curl -sS --fail-with-body -H "Authorization: Bearer $API_KEY" "$@"
}
post() { # path, body, more headers
    call "$BASE_URL$1" -H 'Content-Type: application/json' -d "$2" "${@:3}"
}
member() { # the text under a name in JSON, wherever it stands
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

echo "# Submit"
made=$(post /v1/tasks '{"model": "Nano-Banana", "input": {"prompt": "a single red apple", "aspect_ratio": "1:1"}}' \
    -H "Idempotency-Key: apple-$RANDOM$RANDOM")
echo "$made"
task=$(member taskId <<<"$made")

echo "# Submit by a route"
post /v1/tasks '{"model": "gpt-image-2/text-to-image", "route": "pro", "input": {"prompt": "a calm lake at dawn"}}'

echo "# Submit one of this service's own models"
post /v1/tasks '{"model": "upscale", "input": {"image": "https://example.com/photo.jpg", "scale": 2}}'

echo "# Until it is done"
for _ in $(seq 60); do
    detail=$(call "$BASE_URL/v1/tasks/$task")
    case $(member status <<<"$detail") in success | fail) break ;; esac
    sleep 2
done
echo "$detail"
call "$(member url <<<"$detail")" -o /dev/null -w '%{content_type} %{size_download}\n'

echo "# The newest two"
call "$BASE_URL/v1/tasks?page=1&size=2"

echo "# Prices"
call "$BASE_URL/api/pricing" -o /dev/null -w '%{http_code} %{size_download}\n'

echo "# Keep what it made for longer"
post /v1/storages/promote "[\"$task\"]"
