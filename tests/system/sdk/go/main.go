// Does what lines of JSON on stdin say with the Go SDK; a line of JSON answers each. sdk_cases.py
// has the commands.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"tally"
	"time"
)

type event struct {
	Subject, Type, ID, Source string
	Value                     any
	TimeMS                    int64 `json:"time_ms"`
	Properties                map[string]any
}

type command struct {
	Do        string
	Options   map[string]any
	Event     event
	Count     int
	Prefix    string
	WaitMS    int `json:"wait_ms"`
	TimeoutMS int `json:"timeout_ms"`
}

type refusal struct {
	Event      map[string]any `json:"event"`
	Reason     string         `json:"reason"`
	IsConflict bool           `json:"is_conflict"`
}

var (
	client   *tally.Client
	mutex    sync.Mutex // of the refusals
	refusals = []refusal{}
	upper    = regexp.MustCompile(`[A-Z]`)
)

// {"big": "123"}: a whole number that JSON does not carry exactly everywhere. An integer of JSON
// becomes an int, any other number a float.
func exact(value any) any {
	switch it := value.(type) {
	case map[string]any:
		if text, isBig := it["big"].(string); isBig {
			whole, _ := new(big.Int).SetString(text, 10)
			return whole
		}
		for name, item := range it {
			it[name] = exact(item)
		}
	case []any:
		for i, item := range it {
			it[i] = exact(item)
		}
	case json.Number:
		if whole, err := it.Int64(); err == nil {
			return int(whole)
		}
		float, _ := it.Float64()
		return float
	}
	return value
}

func (e event) made() tally.Event {
	exact(e.Properties)
	made := tally.Event{Subject: e.Subject, Type: e.Type, ID: e.ID, Source: e.Source,
		Value: exact(e.Value), Properties: e.Properties}
	if e.TimeMS != 0 {
		made.Time = time.UnixMilli(e.TimeMS)
	}
	return made
}

func timed(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

// Sets the fields of tally.Options that the options name: batch_age_ms is BatchAge. tls_ca is the
// file of the certificate to trust.
func open(options map[string]any) {
	made := tally.Options{OnRefusal: func(it tally.Event, reason string) {
		mutex.Lock()
		defer mutex.Unlock()
		refusals = append(refusals, refusal{map[string]any{"id": it.ID, "subject": it.Subject,
			"type": it.Type}, reason, reason == "conflict"})
	}}
	if server, _ := options["server"].(string); strings.HasPrefix(server, "unix:") {
		made.Network, made.Address = "unix", server[5:]
	} else {
		made.Address = server
	}
	delete(options, "server")
	delete(options, "in_flight_batches") // it is always one
	if path, isNamed := options["tls_ca"].(string); isNamed {
		trusted, _ := os.ReadFile(path)
		made.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		made.TLS.RootCAs.AppendCertsFromPEM(trusted)
		delete(options, "tls_ca")
	}
	for name, value := range options {
		plain := strings.ReplaceAll(strings.TrimSuffix(name, "_ms"), "_", "")
		field := reflect.ValueOf(&made).Elem().FieldByNameFunc(
			func(each string) bool { return strings.EqualFold(each, plain) })
		switch it := exact(value).(type) {
		case int:
			if plain+"ms" == strings.ReplaceAll(name, "_", "") {
				it *= int(time.Millisecond)
			}
			field.SetInt(int64(it))
		case string:
			field.SetString(it)
		}
	}
	client = tally.Open(made)
}

func sendMany(c command) (any, error) {
	for i := 0; i < c.Count; i++ {
		made := c.Event.made()
		if c.Prefix != "" {
			made.ID = fmt.Sprintf("%s-%d", c.Prefix, i)
		}
		if _, err := client.Send(made, timed(c.WaitMS)); err != nil {
			return nil, err
		}
	}
	return c.Count, nil
}

// Eight goroutines send until they may not any more; the client is closed when so many events are
// taken and, with a count of 0, when the buffer is full. Returns how many were taken in all, what
// the goroutines were told, and what Close said.
func closeWhileSending(c command) map[string]any {
	told, taken := make(chan string), int64(0)
	for i := 0; i < 8; i++ {
		go func() {
			for {
				if _, err := client.Send(c.Event.made(), timed(c.WaitMS)); err != nil {
					told <- kind(err)
					return
				}
				atomic.AddInt64(&taken, 1)
			}
		}()
	}
	for err := error(nil); c.Count == 0 && err == nil; {
		if _, err = client.Send(c.Event.made(), 0); err == nil {
			atomic.AddInt64(&taken, 1)
		}
	}
	for atomic.LoadInt64(&taken) < int64(c.Count) {
		runtime.Gosched()
	}
	closed, ends := client.Close(timed(c.TimeoutMS)), []string{}
	for i := 0; i < 8; i++ {
		ends = append(ends, <-told)
	}
	return map[string]any{"taken": taken, "told": ends, "closed": kind(closed)}
}

func stats() map[string]any {
	snake := map[string]any{}
	made := client.Stats()
	snake["events_buffered"] = made.EventsSent - made.EventsAcked
	snake["is_connected"] = made.LastError == ""
	snake["goroutines"] = runtime.NumGoroutine()
	counted := reflect.ValueOf(made)
	for i := 0; i < counted.NumField(); i++ {
		name := upper.ReplaceAllString(counted.Type().Field(i).Name, "_$0")
		snake[strings.ToLower(strings.TrimPrefix(name, "_"))] = counted.Field(i).Interface()
	}
	return snake
}

func run(c command) (any, error) {
	switch c.Do {
	case "open":
		open(c.Options)
		return nil, nil
	case "send":
		return client.Send(c.Event.made(), timed(c.WaitMS))
	case "send_many":
		return sendMany(c)
	case "flush":
		return nil, client.Flush(timed(c.TimeoutMS))
	case "close":
		return nil, client.Close(timed(c.TimeoutMS))
	case "close_while_sending":
		return closeWhileSending(c), nil
	case "stats":
		return stats(), nil
	case "refusals":
		mutex.Lock()
		defer mutex.Unlock()
		return append([]refusal{}, refusals...), nil
	}
	return nil, errors.New("no such command")
}

func kind(err error) string {
	for each, name := range map[error]string{nil: "", tally.ErrFull: "full",
		tally.ErrInvalid: "invalid", tally.ErrUnacked: "timeout", tally.ErrClosed: "closed"} {
		if errors.Is(err, each) {
			return name
		}
	}
	return "other"
}

func main() {
	out := json.NewEncoder(os.Stdout)
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	in.UseNumber()
	for {
		var c command
		if in.Decode(&c) != nil {
			return
		}
		answer := map[string]any{}
		if result, err := run(c); err != nil {
			answer["error"], answer["text"] = kind(err), err.Error()
		} else {
			answer["result"] = result
		}
		if out.Encode(answer) != nil {
			return
		}
	}
}
