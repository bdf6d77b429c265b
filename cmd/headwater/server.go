package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/headwater-go/headwater/embedded"
)

const serverUsage = `Run a server for development: the one that is embedded in programs, listening.

Usage: headwater server -data DIR [-listen HOST:PORT]

It prints its URL when it is ready, and runs until Ctrl-C, which is no failure.
Whoever reaches it can read and write everything, so it listens on this machine
only. With port 0 the operating system chooses one.

Examples:

    headwater server -data dev-data
    headwater server -data dev-data -listen 127.0.0.1:0 -json
`

func serve(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("server", serverUsage)
	data := fs.String("data", "", "the `folder` of the logs, made if there is none")
	listen := fs.String("listen", "127.0.0.1:4222", "the `address` to listen on")
	asJSON := jsonFlag(fs)
	if _, err := parseFlags(fs, c, args); err != nil {
		return err
	}
	if *data == "" {
		return wrongUsage(fs, "server needs -data, the folder to keep logs in")
	}
	if !isLoopback(*listen) {
		return wrongUsage(fs, "-listen %q is not HOST:PORT of this machine's loopback interface, such as 127.0.0.1:4222", *listen)
	}
	server, err := embedded.Start(ctx, *data, &embedded.Options{
		Listen: *listen,
		Logger: slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := sayURL(c, server, *asJSON); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func sayURL(c console, server *embedded.Server, asJSON bool) error {
	if asJSON {
		return printJSON(c.out, struct {
			URL  string `json:"url"`
			Data string `json:"data"`
		}{server.URL(), server.Dir()})
	}
	_, err := fmt.Fprintf(c.out, "%s\n", server.URL())
	return err
}
