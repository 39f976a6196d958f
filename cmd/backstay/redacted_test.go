package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/uaa"
)

// hidden is what no test below may find printed; as numbers it begins with 104 117 110 or 68756e.
const hidden = "hunter2 hunter2 hunter2 hunter2!"

// TestSecretsDoNotPrint fills every type that carries a secret with one, and prints it in all ways.
func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	for _, carrier := range []any{
		backstay.Secret(""), seal.Key{}, backstay.Credentials{}, backstay.Certificate{},
		backend.User{}, backend.Spec{}, engine.User{}, engine.Node{},
		market.BoundService{}, market.Market{}, broker.Broker{}, uaa.Server{},
	} {
		filled := reflect.New(reflect.TypeOf(carrier)).Elem()
		fill(filled)
		t.Run(filled.Type().String(), func(t *testing.T) {
			t.Parallel()
			value, pointer := filled.Interface(), filled.Addr().Interface()
			for _, v := range []any{value, pointer} {
				wantNothingPrinted(t, v)
				wantNothingLogged(t, v)
			}
			for _, v := range []any{[]any{value}, map[string]any{"a": value}, struct{ Field any }{value},
				fmt.Errorf("met %v", value)} {
				wantNothingPrinted(t, v)
			}
		})
	}
}

// fill puts the hidden secret into every exported field that can hold one.
func fill(v reflect.Value) {
	switch v.Type() {
	case reflect.TypeFor[seal.Key]():
		v.Set(reflect.ValueOf(seal.Key([]byte(hidden))))
		return
	case reflect.TypeFor[backstay.Credentials]():
		v.Set(reflect.ValueOf(backstay.Credentials{"password": hidden, "deep": map[string]any{"uri": hidden}}))
		return
	case reflect.TypeFor[backstay.Secret]():
		v.SetString(hidden)
		return
	}
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}

// wantNothingPrinted tries all verbs that go vet lets pass: for the wrong %p and %w, fmt asks no methods.
func wantNothingPrinted(t *testing.T, v any) {
	t.Helper()
	for _, verb := range strings.Fields("v +v #v s q +q x #x X d o b c U t e g T") {
		wantHidden(t, "%"+verb, fmt.Sprintf("%"+verb, v))
	}
	wantHidden(t, "Sprint", fmt.Sprint(v, v))
}

func wantNothingLogged(t *testing.T, v any) {
	t.Helper()
	handlers := map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	}
	for name, handler := range handlers {
		var out bytes.Buffer
		log := slog.New(handler(&out))
		log.Info("a message", "of", v, slog.Group("group", "of", v))
		log.With("of", v).WithGroup("group").Error("another", "error", fmt.Errorf("met %v", v))
		wantHidden(t, "handler of "+name, out.String())
		if !strings.Contains(out.String(), "another") {
			t.Errorf("handler of %s writes %s", name, out.String())
		}
	}
}

func wantHidden(t *testing.T, how, printed string) {
	t.Helper()
	for _, shape := range []string{"hunter2", "104 117 110", "104,117,110", "0x68, 0x75, 0x6e", "68756e746572", "68 75 6e",
		"aHVudGVy"} { // each too long to be met by chance in a time or an address
		if strings.Contains(strings.ToLower(printed), strings.ToLower(shape)) {
			t.Errorf("%s shows %s", how, printed)
		}
	}
}

func TestSecretsEncode(t *testing.T) {
	t.Parallel()
	text, err := yaml.Marshal(map[string]any{"secret": backstay.Secret(hidden), "key": seal.Key([]byte(hidden))})
	if err != nil {
		t.Fatal(err)
	}
	wantHidden(t, "YAML", string(text))
	text, err = json.Marshal(seal.Key([]byte(hidden)))
	if err != nil {
		t.Fatal(err)
	}
	wantHidden(t, "JSON of a key", string(text))

	// Sealed storage and the keeper's protocol are JSON, and must give back what they were given.
	kept := backend.User{Name: "u", Password: "<hunter2> & \u2028 \""}
	text, err = json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	var back backend.User
	if err := json.Unmarshal(text, &back); err != nil || back != kept {
		t.Errorf("%s came back as another user (%v)", text, err)
	}
}
