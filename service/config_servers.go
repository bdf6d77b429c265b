package service

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// takeUser checks the servers' URLs, which came from a variable, and moves the user
// out of them.
func (c *Config) takeUser(variable string, wrong *mistakes) {
	var users []string
	var user *url.Userinfo
	before := len(*wrong)
	servers := make([]string, len(c.Servers)) // others' slice stays as it is
	for i, server := range c.Servers {
		u, reason := parseServer(server)
		if reason != "" {
			wrong.add(variable, "server %d: %s", i+1, reason)
			continue
		}
		if user = u.User; !slices.Contains(users, user.String()) {
			users = append(users, user.String())
		}
		u.User = nil
		servers[i] = u.String()
	}
	switch kinds := c.credentials(); {
	case len(users) > 1:
		wrong.add(variable, "the servers' users differ: set NATS_USER and NATS_PASSWORD instead")
	case user != nil && len(kinds) > 0:
		wrong.add(variable, "has a user, and %s says another: use one of them", strings.Join(kinds, " and "))
	case user != nil:
		c.setUser(user)
	}
	for i := range servers {
		if len(*wrong) > before {
			servers[i] = hidden // it may be a part of a password
		}
	}
	c.Servers = servers
}

// setUser takes a URL's user; one without a password is a token.
func (c *Config) setUser(user *url.Userinfo) {
	password, ok := user.Password()
	if !ok {
		c.Token = NewSecret(user.Username())
		return
	}
	c.User, c.Password = user.Username(), NewSecret(password)
}

// parseServer returns a server's URL, or why it is none, without citing it.
func parseServer(server string) (u *url.URL, reason string) {
	server = strings.TrimSpace(server)
	if !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	u, err := url.Parse(server)
	if err != nil {
		return nil, "is not a valid URL; in a password, write special characters as %XX"
	}
	port, portErr := strconv.ParseUint(u.Port(), 10, 16)
	web := u.Scheme == "ws" || u.Scheme == "wss"
	switch {
	case u.Scheme != "nats" && u.Scheme != "tls" && !web:
		return nil, "its scheme is none of nats, tls, ws and wss"
	case u.Hostname() == "":
		return nil, "has no host"
	case u.Port() != "" && (portErr != nil || port == 0):
		return nil, "its port is not a number from 1 to 65535"
	case u.Path != "" && u.Path != "/" && !web, u.RawQuery != "", u.Fragment != "", strings.Contains(u.Path, "@"):
		return nil, "has more than a host and a port; in a password, write special characters as %XX"
	}
	return u, ""
}
