// Command verify verifies a message of relight: a CloudEvent on standard input, `verify KEYS`.
//
// It prints the data that was verified, in canonical form and without the signature, and exits 0. What is not to be
// believed is refused with one line on standard error and exit status 1; 2 is misuse. Act on what was printed and on
// nothing else, drop what is for another cluster, and drop an `id` that you have seen.
//
// `verify --canonical` prints the canonical form of each line of standard input instead.
package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	skewS = 300       // clocks may differ by so much
	safe  = 1<<53 - 1 // larger whole numbers are not the same everywhere
	deep  = 500
)

// parsed returns the JSON value that text holds; numbers stay as they are written.
func parsed(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is no UTF-8")
	}
	reader := json.NewDecoder(bytes.NewReader(text))
	reader.UseNumber()
	var value any
	if err := reader.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := reader.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON")
	}
	return value, nil
}

// canonical writes a JSON value as RFC 8785 has it.
func canonical(out *strings.Builder, value any, depth int) error {
	if depth > deep {
		return errors.New("it is nested too deeply")
	}
	switch value := value.(type) {
	case nil:
		out.WriteString("null")
	case bool:
		out.WriteString(strconv.FormatBool(value))
	case json.Number:
		number, err := number(string(value))
		out.WriteString(number)
		return err
	case string:
		text(out, value)
	case []any:
		out.WriteByte('[')
		for at, item := range value {
			if at > 0 {
				out.WriteByte(',')
			}
			if err := canonical(out, item, depth+1); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	case map[string]any:
		names := make([]string, 0, len(value))
		for name := range value {
			names = append(names, name)
		}
		sort.Slice(names, func(a, b int) bool { return before(names[a], names[b]) })
		out.WriteByte('{')
		for at, name := range names {
			if at > 0 {
				out.WriteByte(',')
			}
			text(out, name)
			out.WriteByte(':')
			if err := canonical(out, value[name], depth+1); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	}
	return nil
}

// before tells whether a name comes before another one, by their UTF-16 code units.
func before(a, b string) bool {
	left, right := utf16.Encode([]rune(a)), utf16.Encode([]rune(b))
	for at := 0; at < len(left) && at < len(right); at++ {
		if left[at] != right[at] {
			return left[at] < right[at]
		}
	}
	return len(left) < len(right)
}

// text writes a string: only quotes, backslashes and control characters are escaped.
func text(out *strings.Builder, value string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	out.WriteByte('"')
	for _, letter := range value {
		if escape, known := short[letter]; known {
			out.WriteString(escape)
		} else if letter < ' ' {
			fmt.Fprintf(out, `\u%04x`, letter)
		} else {
			out.WriteRune(letter)
		}
	}
	out.WriteByte('"')
}

// number returns a number as ECMAScript prints it: the shortest that reads back as the same double.
func number(written string) (string, error) {
	value, err := strconv.ParseFloat(written, 64)
	if err != nil {
		return "", fmt.Errorf("%s is no double", written)
	}
	if !strings.ContainsAny(written, ".eE") {
		whole, err := strconv.ParseInt(written, 10, 64)
		if err != nil || whole > safe || whole < -safe {
			return "", fmt.Errorf("%s is no safe integer", written)
		}
	}
	if value == 0 {
		return "0", nil
	}
	if size := math.Abs(value); size >= 1e-6 && size < 1e21 {
		return strconv.FormatFloat(value, 'f', -1, 64), nil
	}
	mantissa, power, _ := strings.Cut(strconv.FormatFloat(value, 'e', -1, 64), "e")
	return mantissa + "e" + power[:1] + strings.TrimLeft(power[1:], "0"), nil
}

// keys returns the keys of a file by their ids; it has `ID SECRET` on each line, the secret in base64.
func keys(path string) (map[string][]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for _, line := range strings.Split(string(content), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(words) != 2 {
			return nil, fmt.Errorf("%s: write `ID SECRET`", path)
		}
		if found[words[0]], err = base64.StdEncoding.DecodeString(words[1]); err != nil {
			return nil, fmt.Errorf("%s: a secret is no base64", path)
		}
	}
	return found, nil
}

// verified returns the data of an event in canonical form, without its signature, or why it is refused.
func verified(message []byte, known map[string][]byte, nowS float64) (string, error) {
	value, err := parsed(message)
	if err != nil {
		return "", err
	}
	event, _ := value.(map[string]any)
	data, _ := event["data"].(map[string]any)
	if event["specversion"] != "1.0" || data == nil {
		return "", errors.New("it is no event")
	}
	signature, _ := data["signature"].(map[string]any)
	if signature == nil {
		return "", errors.New("it is not signed")
	}
	if signature["alg"] != "HS256" {
		return "", errors.New("it is signed in a way that is unknown here")
	}
	keyID, _ := signature["key_id"].(string)
	secret, there := known[keyID]
	if !there {
		return "", fmt.Errorf("the key %q is unknown", keyID)
	}
	delete(data, "signature")
	var form strings.Builder
	if err := canonical(&form, data, 0); err != nil {
		return "", fmt.Errorf("it has no canonical form: %w", err)
	}
	digest := hmac.New(sha256.New, secret)
	digest.Write([]byte(form.String()))
	said, _ := signature["value"].(string)
	if !hmac.Equal([]byte(base64.RawURLEncoding.EncodeToString(digest.Sum(nil))), []byte(said)) {
		return "", errors.New("the signature does not match: it is forged, or altered")
	}
	if expires, there := seconds(data, "expires_s"); there && nowS > expires {
		return "", errors.New("it has expired")
	}
	if issued, there := seconds(data, "issued_s"); there && issued > nowS+skewS {
		return "", errors.New("it was issued in the future: the clocks differ")
	}
	return form.String(), nil
}

func seconds(data map[string]any, name string) (float64, bool) {
	written, there := data[name].(json.Number)
	if !there {
		return 0, false
	}
	value, err := written.Float64()
	return value, err == nil
}

func canonicalLines() error {
	lines, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			value, err := parsed(line)
			if err != nil {
				return err
			}
			var form strings.Builder
			if err := canonical(&form, value, 0); err != nil {
				return err
			}
			fmt.Fprintln(out, form.String())
		}
		if err != nil {
			return nil
		}
	}
}

func fail(status int, what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(status)
}

func main() {
	if len(os.Args) != 2 {
		fail(2, "usage: verify KEYS < EVENT")
	}
	if os.Args[1] == "--canonical" {
		if err := canonicalLines(); err != nil {
			fail(1, err)
		}
		return
	}
	known, err := keys(os.Args[1])
	if err != nil {
		fail(2, err)
	}
	message, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(2, err)
	}
	form, err := verified(message, known, float64(time.Now().UnixMilli())/1000)
	if err != nil {
		fail(1, fmt.Sprintf("refused: %v", err))
	}
	fmt.Println(form)
}
