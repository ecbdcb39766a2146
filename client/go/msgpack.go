package tally

// As much msgpack as events and acks take.

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
)

const (
	depthMax = 8
	// A value of an answer that is larger than this is no answer.
	answerMax = 1 << 20
)

var errMsgpack = errors.New("the server sent unknown msgpack")

func packHead(out []byte, marker byte, value uint32) []byte {
	return binary.BigEndian.AppendUint32(append(out, marker), value)
}

func packText(out []byte, text string) []byte {
	if len(text) < 32 {
		out = append(out, 0xa0|byte(len(text)))
	} else {
		out = packHead(out, 0xdb, uint32(len(text)))
	}
	return append(out, text...)
}

func packInt(out []byte, value int64) []byte {
	if value >= 0 && value < 128 {
		return append(out, byte(value))
	}
	return binary.BigEndian.AppendUint64(append(out, 0xd3), uint64(value))
}

func packItems(out []byte, value reflect.Value, depth int) ([]byte, error) {
	if depth > depthMax {
		return nil, fmt.Errorf("%w: properties nest deeper than %d", ErrInvalid, depthMax)
	}
	var err error
	if value.Kind() != reflect.Map {
		out = packHead(out, 0xdd, uint32(value.Len()))
		for i := 0; i < value.Len() && err == nil; i++ {
			out, err = pack(out, value.Index(i).Interface(), depth+1)
		}
		return out, err
	}
	out = packHead(out, 0xdf, uint32(value.Len()))
	for each := value.MapRange(); err == nil && each.Next(); {
		out, err = pack(packText(out, each.Key().String()), each.Value().Interface(), depth+1)
	}
	return out, err
}

// Appends what JSON could hold. What knows its text (time.Time, *big.Int) goes as that.
func pack(out []byte, value any, depth int) ([]byte, error) {
	it := reflect.ValueOf(value)
	if it.Kind() == reflect.Pointer && it.IsNil() {
		it = reflect.Value{}
	} else if known, ok := value.(encoding.TextMarshaler); ok {
		text, err := known.MarshalText()
		return packText(out, string(text)), err
	}
	switch it.Kind() {
	case reflect.Invalid:
		return append(out, 0xc0), nil
	case reflect.Bool:
		if it.Bool() {
			return append(out, 0xc3), nil
		}
		return append(out, 0xc2), nil
	case reflect.String:
		return packText(out, it.String()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return packInt(out, it.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if it.Uint() > math.MaxInt64 {
			return packText(out, fmt.Sprint(it.Uint())), nil
		}
		return packInt(out, int64(it.Uint())), nil
	case reflect.Float32:
		return packHead(out, 0xca, math.Float32bits(float32(it.Float()))), nil
	case reflect.Float64:
		return binary.BigEndian.AppendUint64(append(out, 0xcb), math.Float64bits(it.Float())), nil
	case reflect.Slice, reflect.Array:
		return packItems(out, it, depth)
	case reflect.Map:
		if it.Type().Key().Kind() == reflect.String {
			return packItems(out, it, depth)
		}
	}
	return nil, fmt.Errorf("%w: a %T is no property", ErrInvalid, value)
}

// Reads what the server answers, and what was packed here.
type reader struct{ io.Reader }

func (r reader) take(count uint64) ([]byte, error) {
	if count > answerMax {
		return nil, errMsgpack
	}
	data := make([]byte, count)
	_, err := io.ReadFull(r, data)
	return data, err
}

// A big-endian number of 1<<power bytes.
func (r reader) uint(power byte) (uint64, error) {
	data, err := r.take(1 << power)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(append(make([]byte, 8-len(data), 8), data...)), nil
}

// What stands in the marker's low bits, or behind a wide marker.
func (r reader) size(marker, wide, mask byte) (uint64, error) {
	if marker < wide {
		return uint64(marker & mask), nil
	}
	return r.uint(marker - wide)
}

func (r reader) list(count uint64, err error) ([]any, error) {
	var items []any
	for ; err == nil && count > 0; count-- {
		var item any
		item, err = r.any()
		items = append(items, item)
	}
	return items, err
}

func (r reader) fields(count uint64, err error) (map[string]any, error) {
	items, err := r.list(2*count, err)
	fields := map[string]any{}
	for i := 0; err == nil && i < len(items); i += 2 {
		name, _ := items[i].(string)
		fields[name] = items[i+1]
	}
	return fields, err
}

func (r reader) any() (any, error) {
	first, err := r.take(1)
	if err != nil {
		return nil, err
	}
	switch m := first[0]; {
	case m < 0x80:
		return uint64(m), nil
	case m < 0x90 || m >= 0xde && m <= 0xdf:
		return r.fields(r.size(m, 0xdd, 15))
	case m < 0xa0 || m >= 0xdc && m <= 0xdd:
		return r.list(r.size(m, 0xdb, 15))
	case m < 0xc0 || m >= 0xd9 && m <= 0xdb:
		size, err := r.size(m, 0xd9, 31)
		if err != nil {
			return nil, err
		}
		text, err := r.take(size)
		return string(text), err
	case m == 0xc0:
		return nil, nil
	case m == 0xc2 || m == 0xc3:
		return m == 0xc3, nil
	case m >= 0xcc && m <= 0xcf:
		return r.uint(m - 0xcc)
	case m == 0xca:
		bits, err := r.uint(2)
		return math.Float32frombits(uint32(bits)), err
	case m == 0xcb:
		bits, err := r.uint(3)
		return math.Float64frombits(bits), err
	case m == 0xd3:
		bits, err := r.uint(3)
		return int64(bits), err
	case m == 0xd7: // EventTime
		return r.take(9)
	}
	return nil, errMsgpack
}
