#!/usr/bin/env bash
# Verifies a message of relight: a CloudEvent on standard input, `verify.sh KEYS`. Needs bash 4, jq 1.6 or newer
# (older ones do not print numbers so that they read back the same), openssl, and date, od and tr of any system.
#
# Prints the data that was verified, in canonical form and without the signature, and exits 0. What is not to be believed
# is refused with one line on standard error and exit status 1; 2 is misuse. Act on what was printed and on nothing else,
# drop what is for another cluster, and drop an `id` that you have seen.
#
# `verify.sh --canonical` prints the canonical form of each line of standard input instead.
set -euo pipefail
export LC_ALL=C

# How RFC 8785 writes JSON. jq itself sorts names, escapes characters and prints numbers differently, by its version.
# shellcheck disable=SC2016
canonical='
def zeros(n): [range(n) | "0"] | add // "";

def text:
  {"8": "\\b", "9": "\\t", "10": "\\n", "12": "\\f", "13": "\\r", "34": "\\\"", "92": "\\\\"} as $short
  | "0123456789abcdef" as $hex
  | "\"" + (explode | map(
      $short[tostring]
      // (if . < 32 then "\\u00" + ($hex[. / 16 | floor:][:1]) + ($hex[. % 16:][:1]) else [.] | implode end)
    ) | add // "") + "\"";

# A number as ECMAScript prints it. The multiplication makes a double of what newer versions keep as it was written.
def number:
  (. * 1) as $value
  | if $value == 0 then "0" else
      (if $value < 0 then "-" else "" end) as $sign
      | ((if $value < 0 then -$value else $value end) | tojson | ascii_downcase | split("e")) as $written
      | ($written[0] | split(".")) as $parts
      | ($parts[1] // "") as $part
      | (($parts[0] + $part) | sub("^0+"; "")) as $all
      | (($all | length) - ($part | length) + (($written[1] // "0") | ltrimstr("+") | tonumber)) as $point
      | ($all | sub("0+$"; "")) as $digits
      | ($digits | length) as $count
      | $sign +
        if 0 < $point and $point <= 21 then
          if $count > $point then $digits[:$point] + "." + $digits[$point:] else $digits + zeros($point - $count) end
        elif -6 < $point and $point <= 0 then "0." + zeros(-$point) + $digits
        else
          $digits[:1] + (if $count > 1 then "." + $digits[1:] else "" end)
          + "e" + (if $point > 0 then "+" else "" end) + (($point - 1) | tostring)
        end
    end;

# What names are sorted by: their UTF-16 code units.
def units:
  explode | map(if . > 65535 then . - 65536 | (55296 + (. / 1024 | floor), 56320 + . % 1024) else . end);

def canonical:
  if type == "object" then
    . as $object
    | "{" + ([keys | sort_by(units)[] | text + ":" + ($object[.] | canonical)] | join(",")) + "}"
  elif type == "array" then "[" + (map(canonical) | join(",")) + "]"
  elif type == "string" then text
  elif type == "number" then number
  else tojson
  end;
'

# The checks that need no key. Prints the key, the signature and the canonical form, each on a line of its own.
# shellcheck disable=SC2016
checked='
if length != 1 then error("it is no event") else .[0] end
| if type != "object" or .specversion != "1.0" or (.data | type) != "object" then error("it is no event") else .data end
| .signature as $signature
| del(.signature)
| if ($signature | type) != "object" then error("it is not signed")
  elif $signature.alg != "HS256" then error("it is signed in a way that is unknown here")
  elif ($signature.key_id | type) != "string" or ($signature.key_id | test("\\A[A-Za-z0-9._-]{1,100}\\z") | not)
  then error("its key is unknown")
  elif ($signature.value | type) != "string" or ($signature.value | test("\\A[A-Za-z0-9_-]{43}\\z") | not)
  then error("the signature does not match: it is forged, or altered")
  else $signature.key_id, $signature.value, canonical
  end
'

# The checks of what was verified. Prints why it is refused, if it is.
# shellcheck disable=SC2016
timely='
if has("expires_s") and $now > .expires_s then "it has expired"
elif has("issued_s") and .issued_s > $now + 300 then "it was issued in the future: the clocks differ"
else empty
end
'

refuse() {
  printf 'refused: %s\n' "$1" >&2
  exit 1
}

# Print the key, in hexadecimal digits in $key, filled up to a block, each byte with another number than it.
padded() {
  local at byte block=''
  for ((at = 0; at < 128; at += 2)); do
    byte=${key:at:2}
    printf -v byte '\\x%02x' $((0x${byte:-00} ^ $1))
    block+=$byte
  done
  printf '%b' "$block"
}

# Print the HMAC-SHA-256 of a text. `openssl dgst -hmac` would show the key to everybody who can list processes.
hmac() {
  { padded 0x5c; { padded 0x36; printf '%s' "$1"; } | openssl dgst -sha256 -binary; } | openssl dgst -sha256 -binary
}

hexadecimal() { od -An -v -tx1 | tr -d ' \n'; }

if [[ $# -eq 1 && $1 == --canonical ]]; then
  exec jq -r "$canonical canonical"
fi
if [[ $# -ne 1 || ! -r $1 ]]; then
  echo 'usage: verify.sh KEYS < EVENT' >&2
  exit 2
fi

if ! found=$(jq -r -s "$canonical $checked" 2>&1); then
  found=${found##*$'\n'}
  [[ $found == 'jq: error (at <stdin>:'*'): '* ]] && refuse "${found#*): }"
  refuse 'it is no event'
fi
{ read -r key_id; read -r value; IFS= read -r form; } <<<"$found"

key=''
while read -r name secret; do
  if [[ $name == "$key_id" ]]; then
    key=$(printf '%s' "$secret" | openssl base64 -d -A | hexadecimal)
    break
  fi
done <"$1"
[[ -n $key ]] || refuse "the key '$key_id' is unknown"
if ((${#key} > 128)); then
  key=$(printf '%s' "$secret" | openssl base64 -d -A | openssl dgst -sha256 -binary | hexadecimal)
fi

digest=$(hmac "$form" | openssl base64 -A | tr '+/' '-_' | tr -d '=')
[[ $digest == "$value" ]] || refuse 'the signature does not match: it is forged, or altered'
why=$(jq -r --argjson now "$(date +%s)" "$timely" <<<"$form")
[[ -z $why ]] || refuse "$why"
printf '%s\n' "$form"
