package proc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// A client is one connection. Requests go out exactly as they are given, in one write; answers are
// read one by one, in order, so pipelining is "send, send, receive, receive". Nothing is sent
// again when a connection breaks: whether a request took effect is what the tests are about.

// Client is one keep-alive connection. It is for one goroutine; sending and receiving may be done
// by two.
type Client struct {
	Header  string        // lines that Do sends with every request, each with CRLF
	Timeout time.Duration // of one write and of reading one answer
	Conn    *net.TCPConn

	r       *bufio.Reader
	scratch []byte
}

// Response is an answer. Interim answers (1xx other than 101) are skipped.
type Response struct {
	Proto  string // "HTTP/1.1"
	Status int
	Header textproto.MIMEHeader
	Body   []byte
}

// DevToken is the header line with the token of a server without configured tokens.
const DevToken = "Authorization: Bearer dev\r\n"

// Dial opens a connection that sends the dev token.
func Dial(addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, HangGuard)
	if err != nil {
		return nil, err
	}
	return &Client{
		Header: "Host: " + addr + "\r\n" + DevToken, Timeout: HangGuard,
		Conn: conn.(*net.TCPConn), r: bufio.NewReaderSize(conn, readerBytes),
	}, nil
}

// Close closes the connection.
func (c *Client) Close() { c.Conn.Close() }

// Get asks for target.
func (c *Client) Get(target string) (Response, error) { return c.Do("GET", target, nil) }

// Post sends body to target.
func (c *Client) Post(target string, body []byte) (Response, error) {
	return c.Do("POST", target, body)
}

// Do sends one request and returns its answer.
func (c *Client) Do(method, target string, body []byte) (Response, error) {
	c.scratch = c.AppendRequest(c.scratch[:0], method, target, body)
	if err := c.Send(c.scratch); err != nil {
		return Response{}, err
	}
	return c.Receive(method)
}

// AppendRequest appends a request with the client's header lines. Methods that may have a body get
// a Content-Length even for an empty one.
func (c *Client) AppendRequest(b []byte, method, target string, body []byte) []byte {
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = append(b, c.Header...)
	if len(body) > 0 || method == "POST" || method == "PUT" {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, '\r', '\n')
	}
	b = append(b, '\r', '\n')
	return append(b, body...)
}

// Send writes raw bytes.
func (c *Client) Send(raw []byte) error {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := c.Conn.Write(raw)
	return err
}

// Receive reads the answer to a request with the given method: an answer to HEAD has no body.
func (c *Client) Receive(method string) (Response, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return Response{}, err
	}
	for {
		r, err := c.readHead()
		if err != nil {
			return r, err
		}
		if r.Status/100 == 1 && r.Status != 101 {
			continue
		}
		err = c.readBody(&r, method)
		return r, err
	}
}

var (
	errAnswer = errors.New("not an HTTP/1.1 answer")
	errLarge  = errors.New("the answer is larger than the tests allow")
)

func (c *Client) readHead() (r Response, err error) {
	line, err := c.readLine()
	if err != nil {
		return r, err
	}
	proto, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	r.Proto = proto
	if r.Status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(proto, "HTTP/1.") || len(code) != 3 {
		return r, fmt.Errorf("%w: %q", errAnswer, line)
	}
	r.Header = textproto.MIMEHeader{}
	for size := len(line); size < headBytesMax; size += len(line) {
		if line, err = c.readLine(); err != nil {
			return r, atEnd(err)
		}
		if line == "" {
			return r, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return r, fmt.Errorf("%w: field line %q", errAnswer, line)
		}
		r.Header.Add(name, strings.Trim(value, " \t"))
	}
	return r, errLarge
}

// readLine returns one line without its CRLF, which it insists on.
func (c *Client) readLine() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		if len(line) > 0 {
			err = atEnd(err)
		}
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return "", fmt.Errorf("%w: line %q without CR", errAnswer, line)
	}
	return text, nil
}

// atEnd is err, but an end in the middle of an answer is not io.EOF, which means between two.
func atEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Client) readBody(r *Response, method string) (err error) {
	if method == "HEAD" || r.Status == 204 || r.Status == 304 {
		return nil
	}
	if r.Header.Get("Transfer-Encoding") != "" {
		return c.readChunks(r)
	}
	length := r.Header.Get("Content-Length")
	if length == "" {
		r.Body, err = io.ReadAll(io.LimitReader(c.r, answerBytesMax))
		return err
	}
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 {
		return fmt.Errorf("%w: Content-Length %q", errAnswer, length)
	}
	if n > answerBytesMax {
		return errLarge
	}
	r.Body = make([]byte, n)
	_, err = io.ReadFull(c.r, r.Body)
	return atEnd(err)
}

func (c *Client) readChunks(r *Response) error {
	for {
		line, err := c.readLine()
		if err != nil {
			return atEnd(err)
		}
		n, err := strconv.ParseUint(line, 16, 31)
		if err != nil {
			return fmt.Errorf("%w: chunk size %q", errAnswer, line)
		}
		if len(r.Body)+int(n) > answerBytesMax {
			return errLarge
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(c.r, chunk); err != nil {
			return atEnd(err)
		}
		r.Body = append(r.Body, chunk...)
		if end, err := c.readLine(); err != nil || end != "" {
			return errors.Join(atEnd(err), fmt.Errorf("%w: %q behind a chunk", errAnswer, end))
		}
		if n == 0 {
			return nil
		}
	}
}

// JSON decodes the body into v.
func (r *Response) JSON(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("answer %d with %.200q: %w", r.Status, r.Body, err)
	}
	return nil
}

// ErrorCode is the "error" member of a refusal, empty if there is none.
func (r *Response) ErrorCode() string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(r.Body, &e) != nil {
		return ""
	}
	return e.Error
}

// String shows status and body, for failing tests.
func (r *Response) String() string { return fmt.Sprintf("%d %.300s", r.Status, r.Body) }
