package service

import (
	"fmt"
	"log/slog"
	"strings"
)

// hidden stands for what is not printed.
const hidden = "[hidden]"

// Secret is a text that is not printed, by whatever prints the value that has it.
type Secret struct {
	// A pointer: fmt calls no methods of what is in fields that are not exported,
	// and does not follow pointers there.
	text *string
}

// NewSecret returns a text as a secret; the empty one is none.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

func (s Secret) isSet() bool { return s.text != nil }

// reveal returns the text.
func (s Secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String says whether there is a secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

// Format prints what String returns, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue is what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the secret itself.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// String returns the config without its secrets.
func (c Config) String() string {
	type plain Config // without methods
	p := plain(c)
	p.Servers = redactAll(c.Servers)
	return fmt.Sprintf("%+v", p)
}

// Format prints what String returns, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// LogValue is what String returns.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText returns what String returns.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// redactAll returns URLs without users. They need not be valid: what stands before an
// '@' is never kept, and nothing of a list in which it may be a part of a password.
func redactAll(urls []string) []string {
	redacted := make([]string, len(urls))
	users := 0
	for i, u := range urls {
		at := strings.LastIndexByte(u, '@')
		if redacted[i] = u; at < 0 {
			continue
		}
		users++
		scheme, _, ok := strings.Cut(u[:at], "://")
		if redacted[i] = hidden + u[at:]; ok && !strings.ContainsAny(scheme, ":@") {
			redacted[i] = scheme + "://" + redacted[i]
		}
	}
	if users > 0 && users < len(urls) {
		return []string{hidden}
	}
	return redacted
}
