#!/bin/bash
# Gives Elasticsearch's own user of Kibana its password, and makes the user of `relight index`. Run it as often as you like.
# Passwords go through pipes and not through arguments, which every process could read.
set -euo pipefail

url=${ELASTICSEARCH_URL:-http://elasticsearch:9200}

for name in ELASTIC_PASSWORD KIBANA_SYSTEM_PASSWORD INDEX_PASSWORD; do
  if ! [[ ${!name:-} =~ ^[[:alnum:]]+$ ]]; then
    echo "$name must be set, and hold letters and digits only: see docker/env.example" >&2
    exit 1
  fi
done

put() { # put PATH: send standard input
  local body
  body=$(cat)
  printf 'user = "elastic:%s"\ndata = "%s"\n' "$ELASTIC_PASSWORD" "${body//\"/\\\"}" |
    curl --silent --show-error --fail-with-body --retry 10 --retry-connrefused --request PUT \
      --header 'Content-Type: application/json' --config - "$url$1"
  echo "  $1"
}

put /_security/user/kibana_system/_password <<<"{\"password\": \"$KIBANA_SYSTEM_PASSWORD\"}"
put /_security/role/relight_index <<<'{"cluster": ["monitor"], "indices": [{"names": ["relight-*"], "privileges": ["all"]}]}'
put /_security/user/relight_index <<<"{\"password\": \"$INDEX_PASSWORD\", \"roles\": [\"relight_index\"]}"
