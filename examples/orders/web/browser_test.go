package web_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/examples/orders/web"
)

// A browser is Chromium without a window, spoken to in its DevTools protocol over a
// pipe: JSON texts with a zero byte after each.
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	session string
	asked   int
	said    []string // what the page complained about
}

// openBrowser opens a page. The test is skipped where there is no Chromium.
func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	b := &browser{t: t}
	b.start(findChromium(t))
	target := b.ask("Target.createTarget", map[string]any{"url": "about:blank"})
	attached := b.ask("Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})
	b.session = attached["sessionId"].(string)
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.ask(domain+".enable", nil)
	}
	b.ask("Page.navigate", map[string]any{"url": url})
	return b
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("there is no Chromium here to open the page with: install the package chromium")
	return ""
}

func (b *browser) start(path string) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless", "--window-size=1280,900", "--remote-debugging-pipe", "--user-data-dir="+b.t.TempDir(),
		"--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check")
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	b.to, b.from = ourOut, bufio.NewReader(ourIn)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	hung := time.AfterFunc(patience, func() { ourIn.Close() })
	b.t.Cleanup(func() {
		hung.Stop()
		b.session = ""
		b.send("Browser.close", nil)
		ended := time.AfterFunc(patience, cancel)
		_ = cmd.Wait() // what it says at its end is its own concern
		ended.Stop()
		cancel()
		ourOut.Close()
		ourIn.Close()
	})
}

func (b *browser) send(method string, params map[string]any) {
	b.t.Helper()
	b.asked++
	request := map[string]any{"id": b.asked, "method": method, "params": params}
	if params == nil {
		request["params"] = map[string]any{}
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	data, err := json.Marshal(request)
	if err == nil {
		_, err = b.to.Write(append(data, 0))
	}
	if err != nil {
		b.t.Error(err)
	}
}

// ask sends a request and returns its result.
func (b *browser) ask(method string, params map[string]any) map[string]any {
	b.t.Helper()
	b.send(method, params)
	for {
		data, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: the browser is gone: %v", method, err)
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			Result map[string]any
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(data[:len(data)-1], &m); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case m.Method == "Runtime.exceptionThrown", m.Method == "Log.entryAdded":
			b.said = append(b.said, string(m.Params))
		case m.ID == b.asked && m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		case m.ID == b.asked:
			return m.Result
		}
	}
}

// eval returns what an expression is in the page, as text. A promise is waited for.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	result := b.ask("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true})
	if thrown := result["exceptionDetails"]; thrown != nil {
		b.t.Fatalf("%s: %v", expression, thrown)
	}
	return fmt.Sprint(result["result"].(map[string]any)["value"])
}

// await waits until an expression is true in the page.
func (b *browser) await(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); b.eval(expression) != "true"; {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s is not true of the page: %s", expression, b.eval("document.body.innerText"))
		}
		b.eval("new Promise(requestAnimationFrame)")
	}
}

// in is true when an order is in a stage, and shows a text.
func in(stage, id, text string) string {
	return fmt.Sprintf(`document.querySelector('#%s li[data-order="%s"]')?.innerText.includes(%q) ?? false`, stage, id, text)
}

// screenshot writes what is to be seen to the file that a variable names, for people.
func (b *browser) screenshot() {
	if path := os.Getenv("HEADWATER_SCREENSHOT"); path != "" {
		data, err := base64.StdEncoding.DecodeString(b.ask("Page.captureScreenshot", nil)["data"].(string))
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			b.t.Error(err)
		}
	}
}

// The page shows orders, moves them as it happens, also after a broken connection, and
// places, ships and cancels them.
func TestBrowser(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.place(t, "1001")
	b := openBrowser(t, s.server.URL+"/")
	b.await(`document.querySelector("#state")?.dataset.state === "live"`)
	b.await(in("placed", "1001", "58.0875"))

	s.place(t, "1002")
	b.await(in("placed", "1002", "ALFKI"))
	b.await(in("placed", "1002", "58.0875"))
	s.pay(t, "1002")
	b.await(in("paid", "1002", "Cancel"))
	b.eval(`document.querySelector('#paid li[data-order="1002"] button').click()`)
	b.await(in("shipped", "1002", "58.0875"))
	b.await(`document.querySelectorAll("#shipped li button").length === 0`)

	b.eval(`document.querySelector('#placed li[data-order="1001"] button').click()`)
	b.await(`document.querySelector("#said").innerText.includes("not paid")`)
	b.eval(`document.querySelectorAll('#placed li[data-order="1001"] button')[1].click()`)
	b.await(in("cancelled", "1001", "cancelled on the page"))

	b.eval(`document.querySelector("[name=customer]").value = "<b>BONAP</b>"; document.querySelector("form .main").click()`)
	b.await(`document.querySelector("#placed li")?.innerText.includes("<b>BONAP</b>") ?? false`)
	b.await(`document.querySelector("#said").innerText === "Order placed"`)
	for id := range 5 { // faster than the page asks
		s.place(t, fmt.Sprint(1010+id))
		b.eval("new Promise(done => setTimeout(done, 140))")
		s.pay(t, fmt.Sprint(1010+id))
	}
	for id := range 5 {
		b.await(in("paid", fmt.Sprint(1010+id), "58.0875"))
	}
	b.screenshot()

	s.server.Client().CloseIdleConnections()
	s.server.CloseClientConnections()
	s.place(t, "1004")
	b.await(in("placed", "1004", "58.0875"))
	b.await(`document.querySelector("#state")?.dataset.state === "live"`)
	b.await(`[...document.querySelectorAll("h2 span")].map(e => e.textContent).join() === "2,5,1,1"`)

	// Much happens at once, some of it to an order that is not among those listed.
	const listed = 100
	s.place(t, "old")
	for id := range listed {
		s.place(t, fmt.Sprint(2000+id))
	}
	b.ask("Page.reload", nil)
	b.await(in("placed", fmt.Sprint(2000+listed-1), "58.0875"))
	b.await(`document.querySelector("#state").dataset.state === "live"`)
	s.pay(t, "old")
	for id := range 20 {
		s.pay(t, fmt.Sprint(2000+id))
	}
	b.await(in("paid", "old", "58.0875"))
	b.await(in("paid", "2019", "58.0875"))
	for _, complaint := range b.said {
		if !strings.Contains(complaint, `"source":"network"`) { // an order that is not paid, and the broken connection
			t.Errorf("the page complained: %s", complaint)
		}
	}
}
