#!/usr/bin/env bash
# Every call of HitPaw's API, against a service of yours:
#   BASE_URL=http://127.0.0.1:8000/hitpaw API_KEY=bk_live_… PHOTO=photo.jpg bash hitpaw.sh
set -euo pipefail

post() { # path, body
    curl -sS --fail-with-body "$BASE_URL$1" -H "Apikey: $API_KEY" -H 'Content-Type: application/json' -d "$2"
}
member() { # the text under a name in JSON, wherever it stands
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

echo "# A place for a file, and the file into it"
place=$(post /api/oss/presign-put '{"filename": "photo.jpg", "content_type": "image/jpeg", "expire_seconds": 600}')
echo "$place"
curl -sS --fail-with-body -X PUT "$(member upload_url <<<"$place")" -H 'Content-Type: image/jpeg' --data-binary "@$PHOTO"
url=$(member access_url <<<"$place")

echo "# Places for several"
post /api/oss/presign-put/batch \
    '{"files": [{"filename": "a.jpg", "content_type": "image/jpeg"}, {"filename": "b.mp4", "content_type": "video/mp4"}]}'

echo "# A file in a form"
curl -sS --fail-with-body "$BASE_URL/api/oss/upload" -H "Apikey: $API_KEY" -F "file=@$PHOTO;type=image/jpeg"

echo "# Enlarge"
made=$(post /api/photo-enhancer "{\"model_name\": \"general_2x\", \"img_url\": \"$url\", \"extension\": \".jpg\"}")
echo "$made"
job=$(member job_id <<<"$made")

echo "# Cut out"
post /api/image-segmentation "{\"file_url\": \"$url\", \"return_type\": \"all\"}"

echo "# Until it is done"
for _ in $(seq 60); do
    status=$(post /api/task-status "{\"job_id\": \"$job\"}")
    [[ $(member status <<<"$status") == CONVERTING ]] || break
    sleep 2
done
echo "$status"
curl -sS --fail-with-body "$(member res_url <<<"$status")" -o /dev/null -w '%{content_type} %{size_download}\n'
