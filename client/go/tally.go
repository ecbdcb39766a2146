// Package tally sends usage events to tallyd and knows what became of them; README.md shows how.
//
// Events wait in a queue. The first of them go to the server in a frame that never changes, again
// and again until it is acked; then they leave the queue. Nothing is lost, nothing counts twice.
package tally

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"sync"
	"time"
)

// What the functions return, to be asked for with errors.Is.
var ErrFull = errors.New("tally: the buffer is full, nothing was taken")
var ErrInvalid = errors.New("tally: larger than 64 KiB, before 1970 or after 2106")
var ErrUnacked = errors.New("tally: not everything is acked")
var ErrClosed = errors.New("tally: the client is closed")

// Options: zero is the default, with which the comments begin.
type Options struct {
	Network, Address        string        // tcp, 127.0.0.1:24224; or unix and a path
	BufferBytes             int           // 64 MiB: all that is not acked
	BatchBytes, BatchEvents int           // 256 KiB, 1000; at most 8 MiB: a batch is sent then
	BatchAge, AckTimeout    time.Duration // 50 ms: or then; 30 s: then it connects again
	RetryMin, RetryMax      time.Duration // 100 ms, 10 s: pause after a failure, doubled each time
	SharedKey               string        // none; for servers with users, Username and Password too
	Username, Password      string
	TLS                     *tls.Config         // none
	Backfill                string              // none; its name: events of any age count
	OnRefusal               func(Event, string) // for each event not counted, and the reason
}

// Event is usage. Empty, ID is a UUIDv7, Value is 1 and Time is now.
type Event struct {
	Subject, Type, ID, Source string
	Value                     any // integer, float64, or a decimal as text
	Time                      time.Time
	Properties                map[string]any // what JSON could hold; anything else goes as its text
	entry                     []byte
}

const eventBytes, forever = 128, 1 << 62 // what an event takes beside its entry, about; and a limit

// Stats counts since Open. LastError is empty while there is a connection.
type Stats struct {
	EventsSent, EventsAcked, EventsDuplicate, EventsRejected, EventsConflict uint64
	BufferedBytes, BatchesResent, Connects                                   int
	LastError                                                                string
}

// Client may be used by any goroutine.
type Client struct {
	options        Options
	over           context.Context
	end            context.CancelFunc
	done           chan struct{} // closed at the end of run
	mutex          sync.Mutex    // of all below
	changed        *sync.Cond
	queue, inFrame []Event // all that are not acked, and those of them in the frame
	frame          *bytes.Buffer
	chunk          string // the frame's name
	stats          Stats
	flushed        uint64 // so many of the events sent do not wait for more
	pause          time.Duration
	isClosed       bool
}

// Open starts the goroutine that connects and sends.
func Open(options Options) *Client {
	c := &Client{done: make(chan struct{}), options: Options{Network: "tcp",
		Address: "127.0.0.1:24224", BufferBytes: 64 << 20, BatchBytes: 256 << 10, BatchEvents: 1000,
		BatchAge: time.Second / 20, AckTimeout: 30 * time.Second, RetryMin: time.Second / 10,
		RetryMax: 10 * time.Second, OnRefusal: func(Event, string) {}}}
	for i, given := 0, reflect.ValueOf(options); i < given.NumField(); i++ {
		if !given.Field(i).IsZero() {
			reflect.ValueOf(&c.options).Elem().Field(i).Set(given.Field(i))
		}
	}
	c.over, c.end = context.WithCancel(context.Background())
	c.changed, c.pause = sync.NewCond(&c.mutex), c.options.RetryMin
	c.stats.LastError = "not connected yet"
	go c.run()
	return c
}

func (c *Client) hold(do func()) { c.mutex.Lock(); do(); c.changed.Broadcast(); c.mutex.Unlock() }

// wait waits, with the mutex held, until it is so, the limit, or the end. It returns whether it is.
func (c *Client) wait(limit time.Duration, isSo func() bool) bool {
	late := time.Now().Add(limit)
	defer time.AfterFunc(limit, func() { c.hold(func() {}) }).Stop()
	for !isSo() && time.Now().Before(late) && c.over.Err() == nil {
		c.changed.Wait()
	}
	return isSo()
}

// Stats returns a copy.
func (c *Client) Stats() (stats Stats) { c.hold(func() { stats = c.stats }); return stats }

// Send takes the event and returns its id. With a limit it waits for room. After an error nothing
// was taken.
func (c *Client) Send(event Event, limit time.Duration) (id string, err error) {
	event.pack()
	size := len(event.entry) + eventBytes
	room := c.options.BufferBytes - size
	hasRoom := func() bool { return c.isClosed || c.stats.BufferedBytes <= room }
	c.hold(func() {
		switch {
		case len(event.entry) > 64<<10 || event.Time.Unix()>>32 != 0:
			err = ErrInvalid
		case !hasRoom() && (limit <= 0 || !c.wait(limit, hasRoom)):
			err = ErrFull
		case c.isClosed:
			err = ErrClosed
		default:
			c.queue = append(c.queue, event)
			c.stats.EventsSent++
			c.stats.BufferedBytes += size
		}
	})
	return event.ID, err
}

// Flush waits until all sent before is acked.
func (c *Client) Flush(limit time.Duration) (err error) {
	c.hold(func() {
		sent := c.stats.EventsSent
		c.flushed = sent
		c.changed.Broadcast()
		if !c.wait(limit, func() bool { return c.stats.EventsAcked >= sent }) {
			err = fmt.Errorf("%w: %d events; %s", ErrUnacked, len(c.queue), c.stats.LastError)
		}
	})
	return err
}

// Close flushes, then closes in any case. After ErrUnacked some events are lost.
func (c *Client) Close(limit time.Duration) error {
	c.hold(func() { c.isClosed = true })
	err := c.Flush(limit)
	c.hold(c.end)
	<-c.done
	return err
}

// run connects and sends until Close, with a pause after each failure.
func (c *Client) run() {
	defer close(c.done)
	for c.over.Err() == nil {
		err, luck := c.serve(), uint16(0)
		binary.Read(rand.Reader, binary.BigEndian, &luck) // not all clients come back at once
		c.hold(func() {
			c.stats.LastError = err.Error()
			c.wait(c.pause-c.pause*time.Duration(luck)>>17, func() bool { return false })
			if c.pause *= 2; c.pause > c.options.RetryMax {
				c.pause = c.options.RetryMax
			}
		})
	}
}

// serve sends over one connection until it fails.
func (c *Client) serve() error {
	life, end := context.WithCancel(c.over)
	defer end()
	o, dialer := &c.options, &net.Dialer{Timeout: 5 * time.Second}
	dial := dialer.DialContext
	if o.TLS != nil {
		dial = (&tls.Dialer{NetDialer: dialer, Config: o.TLS}).DialContext
	}
	conn, err := dial(life, o.Network, o.Address)
	if err != nil {
		return err
	}
	go func() { <-life.Done(); conn.Close() }()
	if err = o.greet(conn); err != nil {
		return err
	}
	c.hold(func() { c.stats.Connects, c.stats.LastError = c.stats.Connects+1, "" })
	for c.hold(c.fill); c.over.Err() == nil; c.hold(c.fill) {
		conn.SetDeadline(time.Now().Add(o.AckTimeout))
		conn.Write(c.frame.Bytes()) // a failure shows in the answer
		said, err := answer(conn)
		switch {
		case os.IsTimeout(err):
			return errors.New("no ack in time")
		case err != nil || said[1] != c.chunk: // behind "ack"
			return fmt.Errorf("no ack (does it ask for a shared key?): %v %v", said[:2], err)
		}
		c.settle(said)
	}
	return ErrClosed
}

// fill makes a frame of the queue when it is long or old enough; one that is not acked stays.
func (c *Client) fill() {
	o, count, extension := &c.options, 0, map[string]any{"results": true}
	if len(c.inFrame) > 0 {
		c.stats.BatchesResent++
		return
	}
	c.wait(forever, func() bool { return len(c.queue) > 0 })
	c.wait(o.BatchAge, func() bool {
		return c.stats.EventsAcked < c.flushed || len(c.queue) >= o.BatchEvents ||
			c.stats.BufferedBytes-len(c.queue)*eventBytes >= o.BatchBytes
	})
	c.frame = bytes.NewBufferString("\x93\xa5tally\xc6size")
	for ; count < len(c.queue) && count < o.BatchEvents && c.frame.Len() < o.BatchBytes; count++ {
		c.frame.Write(c.queue[count].entry)
	}
	binary.BigEndian.PutUint32(c.frame.Bytes()[8:], uint32(c.frame.Len()-12))
	if o.Backfill != "" {
		extension["backfill"] = o.Backfill
	}
	c.inFrame, c.chunk = c.queue[:count], uuid7()
	pack(c.frame, 0, map[string]any{"size": count, "chunk": c.chunk, "tally": extension})
}

// settle tells of the refusals in the ack and takes the frame's events off the queue.
func (c *Client) settle(said []any) {
	counts, name := map[any]uint64{}, any(nil)
	for i := 0; i < len(said); i++ {
		number, isNumber := said[i].(uint64)
		switch {
		case !isNumber:
			name = said[i]
		case name != "rejected" && name != "conflicts":
			counts[name] = number // a name_count comes behind a list that is not complete
		case number < uint64(len(c.inFrame)):
			reason := "conflict"
			if name == "rejected" {
				i++
				reason = fmt.Sprint(said[i])
			}
			c.options.OnRefusal(c.inFrame[number], reason)
			counts[name.(string)+"_count"]++
		}
	}
	c.hold(func() {
		c.stats.EventsAcked += uint64(len(c.inFrame))
		c.stats.EventsDuplicate += counts["duplicates"]
		c.stats.EventsRejected += counts["rejected_count"]
		c.stats.EventsConflict += counts["conflicts_count"]
		for i, event := range c.inFrame {
			c.stats.BufferedBytes -= len(event.entry) + eventBytes
			c.queue[i] = Event{} // its memory would keep it
		}
		c.queue, c.inFrame, c.pause = c.queue[len(c.inFrame):], nil, c.options.RetryMin
	})
}

// greet proves to the server that this end knows the shared key, and wants to see the same. tallyd
// asks its own user for none on a unix socket: without a HELO in a second there is no handshake.
func (o *Options) greet(conn net.Conn) error {
	patience := map[string]time.Duration{"tcp": 5 * time.Second, "unix": time.Second}[o.Network]
	if conn.SetDeadline(time.Now().Add(patience)); o.SharedKey == "" {
		return nil
	}
	helo, err := answer(conn) // "HELO", "nonce" and the nonce, "auth" and the salt of passwords
	if o.Network == "unix" && os.IsTimeout(err) {
		return nil
	}
	hash := func(parts ...any) string {
		return fmt.Sprintf("%x", sha512.Sum512([]byte(fmt.Sprint(parts...))))
	}
	host, salt, nonce, ping := "go-"+uuid7(), uuid7(), helo[2], bytes.NewBufferString("\x96")
	pack(ping, 0, "PING", host, salt, hash(salt, host, nonce, o.SharedKey), o.Username,
		hash(helo[4], o.Username, o.Password))
	conn.Write(ping.Bytes())
	pong, err := answer(conn) // fails when there was no HELO
	proof := hash(salt, pong[3], nonce, o.SharedKey)
	if err == nil && (pong[3] == host || !hmac.Equal([]byte(fmt.Sprint(pong[4])), []byte(proof))) {
		err = fmt.Errorf("the handshake failed: %v", pong[:3])
	}
	return err
}

func uuid7() string {
	id := make([]byte, 16)
	binary.BigEndian.PutUint64(id, uint64(time.Now().UnixMilli())<<16)
	if _, err := rand.Read(id[6:]); err != nil {
		panic(err) // ids would not be unique
	}
	id[6], id[8] = 0x70|id[6]&0x0f, 0x80|id[8]&0x3f
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// pack fills in what is missing, once, and makes the entry [EventTime, record].
func (e *Event) pack() {
	if e.ID == "" {
		e.ID = uuid7()
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	out := bytes.NewBufferString("\x92\xd7")
	put(out, 0, e.Time.Unix()<<32|int64(e.Time.Nanosecond()))
	put(out, 0xdf, uint32(5+len(e.Properties)))
	pack(out, 0, "subject", e.Subject, "type", e.Type, "id", e.ID, "source", e.Source)
	pack(out, 0, "value", e.Value)
	for name, value := range e.Properties {
		pack(out, 0, name, value)
	}
	e.entry = out.Bytes()
}

func put(b *bytes.Buffer, m byte, n any) { b.WriteByte(m); binary.Write(b, binary.BigEndian, n) }

// pack writes values as msgpack. It cuts off what is deeper than the server takes: the event is
// refused for its depth then, and the frame is not broken.
func pack(out *bytes.Buffer, depth int, values ...any) {
	for _, value := range values {
		switch it := reflect.ValueOf(value); {
		case value == nil || depth > 9:
			out.WriteByte(0xc0)
		case it.Kind() == reflect.Bool:
			out.WriteByte(map[bool]byte{false: 0xc2, true: 0xc3}[it.Bool()])
		case it.CanInt():
			put(out, 0xd3, it.Int())
		case it.CanUint():
			put(out, 0xcf, it.Uint())
		case it.Kind() == reflect.Float64:
			put(out, 0xcb, it.Float())
		case it.Kind() == reflect.Slice:
			put(out, 0xdd, uint32(it.Len()))
			for i := 0; i < it.Len(); i++ {
				pack(out, depth+1, it.Index(i).Interface())
			}
		case it.Kind() == reflect.Map:
			put(out, 0xdf, uint32(it.Len()))
			for each := it.MapRange(); each.Next(); {
				pack(out, depth+1, each.Key().Interface(), each.Value().Interface())
			}
		default:
			put(out, 0xdb, uint32(len(fmt.Sprint(value))))
			out.WriteString(fmt.Sprint(value))
		}
	}
}

// answer reads what the server says, up to 256 KiB, as the flat list of its texts and numbers, with
// five nils behind them. What is a list or a map can be told from their order.
func answer(conn net.Conn) (said []any, err error) {
	in := &io.LimitedReader{R: conn, N: 256 << 10}
	number := func(size uint64) uint64 {
		var bytes [8]byte
		_, err = io.ReadFull(in, bytes[8-size:])
		return binary.BigEndian.Uint64(bytes[:])
	}
	text := func(size uint64) string {
		bytes, _ := io.ReadAll(io.LimitReader(in, int64(size))) // cut short, the next read fails
		return string(bytes)
	}
	for left := uint64(1); left > 0 && err == nil; left-- {
		switch m := number(1); {
		case m < 0x80:
			said = append(said, m)
		case m < 0xa0: // a map has twice as many
			left += (m & 15) << (^m >> 4 & 1)
		case m < 0xc0:
			said = append(said, text(m&31))
		case m < 0xc4:
			said = append(said, m == 0xc3)
		case m < 0xc7 || m > 0xd8 && m < 0xdc:
			said = append(said, text(number(1<<((m-0xc4)%7))))
		case m > 0xcb && m < 0xd4:
			said = append(said, number(1<<(m&3)))
		case m > 0xdb && m < 0xe0:
			left += number(2<<(m&1)) << (m >> 1 & 1)
		default:
			err = errors.New("the server's answer is unknown msgpack")
		}
	}
	return append(said, make([]any, 5)...), err
}
