package service

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// ConfigError says what is wrong about a [Config]. It matches [eventstore.ErrInvalid].
type ConfigError struct {
	Mistakes []Mistake
}

// Mistake is what is wrong about one variable. Neither part cites its value.
type Mistake struct {
	Variable string
	Reason   string
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString("configuration: ")
	for i, m := range e.Mistakes {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(m.Variable + ": " + m.Reason)
	}
	return b.String()
}

// Is reports whether target is [eventstore.ErrInvalid].
func (e *ConfigError) Is(target error) bool { return target == eventstore.ErrInvalid }

type mistakes []Mistake

func (m *mistakes) add(variable, format string, args ...any) {
	*m = append(*m, Mistake{variable, fmt.Sprintf(format, args...)})
}

func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	return &ConfigError{m}
}

// check notes all mistakes of the values. The servers came from a variable; alone says
// that the server is embedded.
func (c *Config) check(servers string, alone bool, wrong *mistakes) {
	c.takeUser(servers, wrong)
	c.checkCredentials(wrong)
	c.checkTLS(wrong)
	c.checkNames(wrong)
	c.checkNumbers(wrong)
	if alone && c.Replicas > 1 {
		wrong.add("HEADWATER_REPLICAS", "the embedded server is alone, so there can only be 1")
	}
	if len(c.Servers) > 0 {
		return
	}
	for _, v := range c.needServers() {
		wrong.add(v, "a server in the process does not know it: name servers in NATS_SERVERS")
	}
}

// needServers returns the variables that only make sense with servers.
func (c *Config) needServers() (set []string) {
	for _, v := range []struct {
		variable string
		is       bool
	}{
		{"NATS_USER", c.User != ""}, {"NATS_PASSWORD", c.Password.isSet()}, {"NATS_TOKEN", c.Token.isSet()},
		{"NATS_NKEY", c.NkeyFile != ""}, {"NATS_CREDS", c.CredentialsFile != ""},
		{"NATS_CA", c.CAFile != ""}, {"NATS_CERT", c.CertFile != ""}, {"NATS_KEY", c.KeyFile != ""},
	} {
		if v.is {
			set = append(set, v.variable)
		}
	}
	return set
}

// credentials returns the variables that say who the process is, one of each kind.
func (c *Config) credentials() (kinds []string) {
	switch {
	case c.User != "":
		kinds = append(kinds, "NATS_USER")
	case c.Password.isSet():
		kinds = append(kinds, "NATS_PASSWORD")
	}
	if c.Token.isSet() {
		kinds = append(kinds, "NATS_TOKEN")
	}
	if c.NkeyFile != "" {
		kinds = append(kinds, "NATS_NKEY")
	}
	if c.CredentialsFile != "" {
		kinds = append(kinds, "NATS_CREDS")
	}
	return kinds
}

func (c *Config) checkCredentials(wrong *mistakes) {
	kinds := c.credentials()
	for _, other := range kinds[min(len(kinds), 1):] {
		wrong.add(other, "%s is set too: use one kind of credentials", kinds[0])
	}
	switch {
	case c.User != "" && !c.Password.isSet():
		wrong.add("NATS_PASSWORD", "is missing: NATS_USER is set")
	case c.User == "" && c.Password.isSet():
		wrong.add("NATS_USER", "is missing: NATS_PASSWORD is set")
	}
	if c.NkeyFile != "" {
		if _, err := nats.NkeyOptionFromSeed(c.NkeyFile); err != nil {
			wrong.add("NATS_NKEY", "%s", fileReason(err, "is not a file with the seed of a user's nkey"))
		}
	}
	if c.CredentialsFile != "" {
		if err := checkCredentialsFile(c.CredentialsFile); err != nil {
			wrong.add("NATS_CREDS", "%s", fileReason(err, "is not a file with a user's JWT and seed"))
		}
	}
}

// checkCredentialsFile does what a connection will do with it.
func checkCredentialsFile(path string) error {
	var o nats.Options
	if err := nats.UserCredentials(path)(&o); err != nil {
		return err
	}
	if _, err := o.UserJWT(); err != nil {
		return err
	}
	_, err := o.SignatureCB(nil)
	return err
}

// fileReason says why a file is of no use: it cannot be read, or has something else
// in it. What that is stays out of it.
func fileReason(err error, content string) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return "cannot be read: " + path.Error()
	}
	return content
}

func (c *Config) checkTLS(wrong *mistakes) {
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
			wrong.add("NATS_CA", "%s", fileReason(err, "is not a file with certificates in PEM"))
		}
	}
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		wrong.add("NATS_KEY", "is missing: NATS_CERT is set")
	case c.CertFile == "" && c.KeyFile != "":
		wrong.add("NATS_CERT", "is missing: NATS_KEY is set")
	case c.CertFile != "":
		c.checkPair(wrong)
	}
}

func (c *Config) checkPair(wrong *mistakes) {
	for _, f := range []struct{ variable, path string }{{"NATS_CERT", c.CertFile}, {"NATS_KEY", c.KeyFile}} {
		if _, err := os.ReadFile(f.path); err != nil {
			wrong.add(f.variable, "%s", fileReason(err, err.Error()))
			return
		}
	}
	if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
		wrong.add("NATS_CERT", "is not a file with a certificate in PEM whose key is in NATS_KEY")
	}
}

func (c *Config) checkNames(wrong *mistakes) {
	if c.Service != "" && !isService(c.Service) {
		wrong.add("HEADWATER_SERVICE", serviceWanted)
	}
	if c.Instance != "" && c.Instance != clean(c.Instance, ".-_", 128) {
		wrong.add("HEADWATER_INSTANCE", "is not 1 to 128 letters, digits, '.', '-' and '_'")
	}
	if c.Log != "" && !isService(c.Log) { // what a log may be called, a service may
		wrong.add("HEADWATER_LOG", serviceWanted)
	}
	if prefix, ok := strings.CutPrefix(c.InboxPrefix, "_"); c.InboxPrefix != "" && (!ok || prefix == "" || prefix != clean(prefix, "-_", 64)) {
		wrong.add("NATS_INBOX_PREFIX", "is not '_' and then 1 to 64 letters, digits, '-' and '_'")
	}
	if c.HealthAddress == "" {
		return
	}
	_, port, err := net.SplitHostPort(c.HealthAddress)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		wrong.add("HEADWATER_HEALTH", "is not host:port with a port from 0 to 65535")
	}
}

func (c *Config) checkNumbers(wrong *mistakes) {
	if !slices.Contains([]int{0, 1, 3, 5}, c.Replicas) {
		wrong.add("HEADWATER_REPLICAS", "is none of 1, 3 and 5")
	}
	if c.AckWait < 0 {
		wrong.add("HEADWATER_ACK_WAIT", "is negative")
	}
	if c.MaxAckPending < 0 {
		wrong.add("HEADWATER_MAX_ACK_PENDING", "is negative")
	}
	if c.ShutdownTimeout < 0 {
		wrong.add("HEADWATER_SHUTDOWN_TIMEOUT", "is negative")
	}
	checkFolder("HEADWATER_DATA", c.DataDir, wrong)
	checkFolder("HEADWATER_HIGH_WATER", c.HighWaterDir, wrong)
}

// checkFolder accepts one that is not there yet: Start makes it.
func checkFolder(variable, path string, wrong *mistakes) {
	if path == "" {
		return
	}
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		wrong.add(variable, "%s", fileReason(err, err.Error()))
	case !info.IsDir():
		wrong.add(variable, "is not a folder")
	}
}
