package service

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Config is what a process is told from outside. The zero value of each field is its
// default. Printing it, in any way, shows no secret.
//
// Each field names the variable that [FromEnv] reads it from; those that begin with
// NATS_ are those of the nats tool.
type Config struct {
	// Servers are the NATS servers' URLs, separated by commas in NATS_SERVERS, or in
	// NATS_URL instead. One whose scheme is tls makes all connections use TLS. A user
	// in a URL must be that of all; it is used for servers that are found later too.
	// Default: none, and a server is embedded in the process.
	Servers []string `env:"NATS_SERVERS"`

	// User and Password, or Token, or one of the files is who the process is to the
	// server. Default: nobody.
	User     string `env:"NATS_USER"`
	Password Secret `env:"NATS_PASSWORD"`
	Token    Secret `env:"NATS_TOKEN"`
	// NkeyFile has the seed of an nkey.
	NkeyFile string `env:"NATS_NKEY"`
	// CredentialsFile has a user's JWT and seed.
	CredentialsFile string `env:"NATS_CREDS"`

	// InboxPrefix is what the subjects begin with to which the process is answered: one
	// token that begins with '_', such as "_INBOX_orders". Users who have a prefix each,
	// and may subscribe to that alone, cannot read each other's answers. Default:
	// "_INBOX".
	InboxPrefix string `env:"NATS_INBOX_PREFIX"`

	// CAFile has the certificates, in PEM, that sign those of the servers. With it,
	// or a certificate, connections use TLS. Default: those of the system.
	CAFile string `env:"NATS_CA"`
	// CertFile and KeyFile are the process's own certificate and its key, in PEM.
	// All these files are read again for each connection.
	CertFile string `env:"NATS_CERT"`
	KeyFile  string `env:"NATS_KEY"`

	// Service is the service's name: 1 to 64 letters, digits, '-' and '_', of which '_'
	// is not the first, and not "live" or "timers". Default: the program's name, with
	// '-' for other characters.
	Service string `env:"HEADWATER_SERVICE"`
	// Instance is what tells the process from others of the service: 1 to 128
	// letters, digits, '.', '-' and '_'. Default: the name of the host.
	Instance string `env:"HEADWATER_INSTANCE"`
	// Log is the name of the log. Default: the service's name and "-log".
	Log string `env:"HEADWATER_LOG"`
	// Replicas is on how many nodes the log is stored if it is created: 1, which is
	// the default, 3 or 5.
	Replicas int `env:"HEADWATER_REPLICAS"`
	// DataDir is a folder for what the process keeps, made if there is none. The
	// embedded server has the folder nats in it; the rest is for the program's read
	// models and snapshots. Default: headwater-data, in the working directory, where
	// the server is embedded, and otherwise the working directory.
	DataDir string `env:"HEADWATER_DATA"`
	// HighWaterDir is a folder for the high-water mark, see
	// [eventstore.Options.HighWater], in a file named after service, instance and
	// log. It is made if there is none. Instances that share a folder must have
	// different names. Default: there is no mark.
	HighWaterDir string `env:"HEADWATER_HIGH_WATER"`
	// AckWait is how long the log waits for one answer of the server before it asks
	// again, see [eventstore.Options.AckWait]. Default 5 seconds.
	AckWait time.Duration `env:"HEADWATER_ACK_WAIT"`
	// MaxAckPending is how many commands, and with them appends without an
	// acknowledgement, the process has in hand at a time. Give it to
	// [RespondOptions.InHand]; nothing else uses it. Default: the default there.
	MaxAckPending int `env:"HEADWATER_MAX_ACK_PENDING"`

	// HealthAddress is the host:port on which [Service.HealthHandler] is served: of
	// the loopback interface, or without host of every one. With port 0 the operating
	// system chooses one. Default: it is not served.
	HealthAddress string `env:"HEADWATER_HEALTH"`
	// ShutdownTimeout is how long a shutdown may take. Default 25 seconds, which is
	// somewhat less than what Kubernetes waits before it kills.
	ShutdownTimeout time.Duration `env:"HEADWATER_SHUTDOWN_TIMEOUT"`
}

const (
	defaultDataDir  = "headwater-data"
	defaultShutdown = 25 * time.Second
)

// FromEnv returns what the environment says. The error is a [ConfigError] with all
// mistakes, those that [Start] would find in the values included. A variable that is
// empty counts as not set.
func FromEnv() (Config, error) { return fromEnv(env.ToMap(os.Environ())) }

func fromEnv(variables map[string]string) (Config, error) {
	var read struct {
		Config
		URL []string `env:"NATS_URL"`
	}
	var wrong mistakes
	wrong.parsed(env.ParseWithOptions(&read, env.Options{Environment: variables}))
	c, variable := read.Config, "NATS_SERVERS"
	switch {
	case len(c.Servers) > 0 && len(read.URL) > 0:
		wrong.add("NATS_URL", "NATS_SERVERS is set too: name the servers in one of them")
	case len(read.URL) > 0:
		c.Servers, variable = read.URL, "NATS_URL"
	}
	c.check(variable, len(c.Servers) == 0, &wrong)
	return c, wrong.err()
}

// parsed notes what could not be parsed, by its variable.
func (m *mistakes) parsed(err error) {
	if err == nil {
		return
	}
	all := env.AggregateError{Errors: []error{err}}
	errors.As(err, &all)
	for _, err := range all.Errors {
		var wrong env.ParseError
		if !errors.As(err, &wrong) {
			m.add("environment", "cannot be read: %T", err) // its text may cite a value
			continue
		}
		field, _ := reflect.TypeFor[Config]().FieldByName(wrong.Name)
		m.add(field.Tag.Get("env"), "%s", kinds[field.Type])
	}
}

// kinds says what a value must be. The error of the parser cites it, which is left
// out: a secret may stand in the wrong variable.
var kinds = map[reflect.Type]string{
	reflect.TypeFor[int]():           "is not a number",
	reflect.TypeFor[time.Duration](): `is not a duration, such as "5s" or "2m"`,
}

// complete returns the config with its defaults in place, for a process with or
// without an embedded server.
func (c Config) complete(alone bool) (Config, error) {
	var wrong mistakes
	c.check("NATS_SERVERS", alone, &wrong)
	if err := wrong.err(); err != nil {
		return c, err
	}
	c.Service = cmp.Or(c.Service, programName())
	c.Instance = cmp.Or(c.Instance, hostName())
	c.Log = cmp.Or(c.Log, clean(c.Service, "-_", 60)+"-log")
	if alone {
		c.DataDir = cmp.Or(c.DataDir, defaultDataDir)
	}
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, defaultShutdown)
	return c, nil
}

func programName() string {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	if name = clean(strings.TrimLeft(name, "_"), "-_", 64); isService(name) {
		return name
	}
	return "service"
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost" // a name that says nothing is better than no service
	}
	return clean(name, ".-_", 128)
}

// clean returns a name with '-' for characters that it may not have.
func clean(name, allowed string, most int) string {
	name = strings.Map(func(r rune) rune {
		if isWordRune(r) || strings.ContainsRune(allowed, r) {
			return r
		}
		return '-'
	}, name)
	return cmp.Or(name[:min(len(name), most)], "service")
}

func isWordRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}
