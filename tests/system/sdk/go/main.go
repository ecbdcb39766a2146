// Does what lines of JSON on stdin say with the Go SDK; a line of JSON answers each. sdk_cases.py
// has the commands.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"reflect"
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
	client    *tally.Client
	mutex     sync.Mutex // of the rest
	refusals  = []refusal{}
	lastError = "not connected yet"
	failedAt  int64 // how many connections there had been then
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
	made := tally.Event{Subject: e.Subject, Type: e.Type, ID: e.ID, Source: e.Source,
		Value: exact(e.Value), Properties: map[string]string{}}
	for name, value := range e.Properties {
		made.Properties[name] = fmt.Sprint(value)
	}
	if e.TimeMS != 0 {
		made.Time = time.UnixMilli(e.TimeMS)
	}
	return made
}

func timed(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

// Flush or Close of the client, with a limit.
func limited(ms int, wait func(*tally.Client, context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timed(ms))
	defer cancel()
	return wait(client, ctx)
}

func open(options map[string]any) {
	network, address := "tcp", options["server"].(string)
	if strings.HasPrefix(address, "unix:") {
		network, address = "unix", address[5:]
	}
	client = tally.New(network, address, func(made *tally.Client) { set(made, options) })
}

// Sets the fields of the client that the options name: ack_timeout_ms is AckTimeout. tls_ca is the
// file of the certificate to trust.
func set(client *tally.Client, options map[string]any) {
	client.OnRefusal = func(it tally.Event, reason string) {
		mutex.Lock()
		defer mutex.Unlock()
		refusals = append(refusals, refusal{map[string]any{"id": it.ID, "subject": it.Subject,
			"type": it.Type}, reason, reason == "conflict"})
	}
	client.OnError = func(err error) {
		mutex.Lock()
		defer mutex.Unlock()
		lastError, failedAt = err.Error(), client.Connects.Load()
	}
	if path, isNamed := options["tls_ca"].(string); isNamed {
		trusted, _ := os.ReadFile(path)
		config := &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM(trusted)
		client.Dial = (&tls.Dialer{Config: config}).DialContext
	}
	// Go has one batch in flight and no batch that waits.
	for _, name := range []string{"server", "tls_ca", "batch_age_ms", "in_flight_batches"} {
		delete(options, name)
	}
	for name, value := range options {
		plain := strings.ReplaceAll(strings.TrimSuffix(name, "_ms"), "_", "")
		field := reflect.ValueOf(client).Elem().FieldByNameFunc(
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
}

// Send does not wait for room; this does.
func send(made tally.Event, wait time.Duration) (string, error) {
	for late := time.Now().Add(wait); ; runtime.Gosched() {
		id, err := client.Send(made)
		if !errors.Is(err, tally.ErrFull) || !time.Now().Before(late) {
			return id, err
		}
		time.Sleep(time.Millisecond)
	}
}

func sendMany(c command) (any, error) {
	for i := 0; i < c.Count; i++ {
		made := c.Event.made()
		if c.Prefix != "" {
			made.ID = fmt.Sprintf("%s-%d", c.Prefix, i)
		}
		if _, err := send(made, timed(c.WaitMS)); err != nil {
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
				if _, err := send(c.Event.made(), timed(c.WaitMS)); err != nil {
					told <- kind(err)
					return
				}
				atomic.AddInt64(&taken, 1)
			}
		}()
	}
	for err := error(nil); c.Count == 0 && err == nil; {
		if _, err = client.Send(c.Event.made()); err == nil {
			atomic.AddInt64(&taken, 1)
		}
	}
	for atomic.LoadInt64(&taken) < int64(c.Count) {
		runtime.Gosched()
	}
	closed, ends := limited(c.TimeoutMS, (*tally.Client).Close), []string{}
	for i := 0; i < 8; i++ {
		ends = append(ends, <-told)
	}
	return map[string]any{"taken": taken, "told": ends, "closed": kind(closed)}
}

// Eight goroutines send an event and wait for its ack, so often each.
func flushByMany(c command) error {
	ends := make(chan error)
	for i := 0; i < 8; i++ {
		go func() {
			var err error
			for n := 0; n < c.Count && err == nil; n++ {
				if _, err = client.Send(c.Event.made()); err == nil {
					err = limited(c.TimeoutMS, (*tally.Client).Flush)
				}
			}
			ends <- err
		}()
	}
	var first error
	for i := 0; i < 8; i++ {
		if err := <-ends; first == nil {
			first = err
		}
	}
	return first
}

// What Close says, and a Flush that had an hour for it.
func closeWhileFlushing(c command) []string {
	flushed := make(chan error)
	go func() { flushed <- limited(3600000, (*tally.Client).Flush) }()
	closed := limited(c.TimeoutMS, (*tally.Client).Close)
	return []string{kind(closed), kind(<-flushed)}
}

func stats() map[string]any {
	mutex.Lock()
	defer mutex.Unlock()
	connects, sent, acked := client.Connects.Load(), client.Sent.Load(), client.Acked.Load()
	if connects > failedAt {
		lastError = ""
	}
	return map[string]any{"events_sent": sent, "events_acked": acked,
		"events_duplicate": client.Duplicates.Load(), "events_rejected": client.Rejected.Load(),
		"events_conflict": client.Conflicts.Load(), "batches_resent": client.Resent.Load(),
		"connects": connects, "events_buffered": sent - acked, "last_error": lastError,
		"goroutines": runtime.NumGoroutine()}
}

func run(c command) (any, error) {
	switch c.Do {
	case "open":
		open(c.Options)
		return nil, nil
	case "send":
		return send(c.Event.made(), timed(c.WaitMS))
	case "send_many":
		return sendMany(c)
	case "flush":
		return nil, limited(c.TimeoutMS, (*tally.Client).Flush)
	case "close":
		return nil, limited(c.TimeoutMS, (*tally.Client).Close)
	case "close_while_sending":
		return closeWhileSending(c), nil
	case "flush_by_many":
		return nil, flushByMany(c)
	case "close_while_flushing":
		return closeWhileFlushing(c), nil
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
