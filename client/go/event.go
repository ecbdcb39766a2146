package tally

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	eventMax   = 64 * 1024 // bytes, as the server has it
	secondsMax = 1 << 32   // EventTime ends in February 2106
)

var decimal = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)

// UUID7 makes an id: the time in milliseconds, then random bits.
func UUID7() string {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err)
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(time.Now().UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = 0x70 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func setNumber[N int | time.Duration](name string, value *N, usual, least, most N) error {
	if *value == 0 {
		*value = usual
	}
	if *value < least || *value > most {
		return fmt.Errorf("%w: %s is %v; it may be %v to %v", ErrInvalid, name, *value, least, most)
	}
	return nil
}

// Fills in defaults and checks ranges.
func (o *Options) complete() error {
	const ms, most = time.Millisecond, 1000 * time.Hour
	if o.Server == "" {
		o.Server = "127.0.0.1:24224"
	}
	if _, address := o.address(); address == "" {
		return fmt.Errorf("%w: server %s is not HOST:PORT or unix:PATH", ErrInvalid, o.Server)
	}
	if len(o.Backfill) > 100 {
		return fmt.Errorf("%w: Backfill is longer than 100 bytes", ErrInvalid)
	}
	if o.OnRefusal == nil {
		o.OnRefusal = func(Refusal) {}
	}
	for _, err := range []error{
		setNumber("BufferBytes", &o.BufferBytes, 64<<20, 2*eventMax, 1<<40),
		setNumber("BatchBytes", &o.BatchBytes, 256<<10, 1, 8<<20),
		setNumber("BatchEvents", &o.BatchEvents, 1000, 1, 65536),
		setNumber("InFlightBatches", &o.InFlightBatches, 8, 1, 256),
		setNumber("BatchAge", &o.BatchAge, 50*ms, ms, most),
		setNumber("AckTimeout", &o.AckTimeout, 30000*ms, ms, most),
		setNumber("ConnectTimeout", &o.ConnectTimeout, 5000*ms, ms, most),
		setNumber("RetryMin", &o.RetryMin, 100*ms, ms, most),
		setNumber("RetryMax", &o.RetryMax, 10000*ms, ms, most),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Network and address, both empty when Server is neither.
func (o *Options) address() (string, string) {
	if path := strings.TrimPrefix(o.Server, "unix:"); path != o.Server {
		return "unix", path
	}
	host, port, err := net.SplitHostPort(o.Server)
	number, _ := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || number == 0 {
		return "", ""
	}
	return "tcp", o.Server
}

// The envelope as the server will check it.
func (e *Event) check() error {
	for _, it := range []struct {
		name, text  string
		least, most int
	}{{"subject", e.Subject, 1, 255}, {"type", e.Type, 1, 100}, {"id", e.ID, 1, 128},
		{"source", e.Source, 0, 255}} {
		if len(it.text) < it.least || len(it.text) > it.most {
			return fmt.Errorf("%w: %s is not a string of %d-%d bytes", ErrInvalid, it.name, it.least, it.most)
		}
		if _, isTaken := e.Properties[it.name]; isTaken {
			return fmt.Errorf("%w: %s is no name for a property", ErrInvalid, it.name)
		}
	}
	if _, isTaken := e.Properties["value"]; isTaken {
		return fmt.Errorf("%w: value is no name for a property", ErrInvalid)
	}
	if e.Value != nil && !decimal.MatchString(fmt.Sprint(e.Value)) {
		return fmt.Errorf("%w: value is not a number", ErrInvalid)
	}
	if seconds := e.Time.Unix(); seconds < 0 || seconds >= secondsMax {
		return fmt.Errorf("%w: time is not between 1970 and 2106", ErrInvalid)
	}
	return nil
}

// [EventTime, record].
func packEntry(event Event) ([]byte, error) {
	if event.Time.IsZero() {
		event.Time = time.Now()
	}
	if err := event.check(); err != nil {
		return nil, err
	}
	record := map[string]any{"subject": event.Subject, "type": event.Type, "id": event.ID}
	if event.Source != "" {
		record["source"] = event.Source
	}
	if event.Value != nil {
		record["value"] = event.Value
	}
	for key, value := range event.Properties {
		record[key] = value
	}
	out := packHead([]byte{0x92, 0xd7}, 0, uint32(event.Time.Unix()))
	out = binary.BigEndian.AppendUint32(out, uint32(event.Time.Nanosecond()))
	out, err := pack(out, record, 0)
	if err == nil && len(out) > eventMax {
		err = fmt.Errorf("%w: the event is larger than 64 KiB", ErrInvalid)
	}
	return out, err
}

func packFrame(sealed *batch, entries []byte, backfill string) []byte {
	extension := map[string]any{"results": true}
	if backfill != "" {
		extension["backfill"] = backfill
	}
	frame := make([]byte, 0, len(entries)+frameBytes)
	frame = packHead(packText(append(frame, 0x93), "tally"), 0xc6, uint32(len(entries)))
	frame = append(frame, entries...)
	option := map[string]any{"size": sealed.count, "chunk": sealed.chunk, "tally": extension}
	frame, _ = pack(frame, option, 0) // of these kinds nothing is refused
	return frame
}

// Tells of each event that was not counted; returns how many were rejected and were conflicts.
func (c *Client) refuse(acked *batch, fields map[string]any) (uint64, uint64) {
	rejected, _ := fields["rejected"].([]any)
	conflicts, _ := fields["conflicts"].([]any)
	entries := []any{}
	if len(rejected)+len(conflicts) > 0 {
		in := reader{bytes.NewReader(acked.frame[headBytes : headBytes+acked.size])}
		entries, _ = in.list(uint64(acked.count), nil) // what was packed here can be read
	}
	tell := func(index any, reason string, isConflict bool) {
		if at, ok := index.(uint64); ok && at < uint64(len(entries)) {
			record, _ := entries[at].([]any)[1].(map[string]any)
			c.options.OnRefusal(Refusal{record, reason, isConflict})
		}
	}
	for _, each := range rejected {
		if pair, _ := each.([]any); len(pair) == 2 {
			tell(pair[0], fmt.Sprint(pair[1]), false)
		}
	}
	for _, index := range conflicts {
		tell(index, "conflict", true)
	}
	return atLeast(fields["rejected_count"], len(rejected)), atLeast(fields["conflicts_count"], len(conflicts))
}

// The count that the server gives when its list is not complete.
func atLeast(count any, listed int) uint64 {
	if all, ok := count.(uint64); ok {
		return all
	}
	return uint64(listed)
}
