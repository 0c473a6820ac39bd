package query

// What a client may ask of two streams: the JSON of POST /broker/join, and what a pipeline that joins is made of. As with queries, everything
// is checked here that can be without knowing the data, and an error names the member by its path. What several members can say (the key of one
// field, dedupe) may be said by one of them; two that contradict each other are refused.

import "slices"

// JoinRequest is the body of POST /broker/join.
type JoinRequest struct {
	Left       Source      `json:"left"`
	Right      Source      `json:"right"`
	On         JoinOn      `json:"on"`
	Join       JoinKind    `json:"join"`
	Window     JoinWindow  `json:"window"`
	Emit       JoinEmit    `json:"emit"`
	DedupeOnce *bool       `json:"dedupe_once"`
	Dedupe     *JoinDedupe `json:"dedupe"` // another way to say the same
}

// JoinOn names the fields that have to be equal, as lists or, where it is one field, without.
type JoinOn struct {
	LeftKeys  []string `json:"left_keys"`
	RightKeys []string `json:"right_keys"`
	LeftKey   *string  `json:"left_key"`
	RightKey  *string  `json:"right_key"`
}

// JoinKind says which messages give rows without a partner.
type JoinKind struct {
	Type string `json:"type"` // "inner" (also ""), "left", "right", "full"
}

// JoinWindow says how far apart two messages may be, and which time of theirs that is about.
type JoinWindow struct {
	SizeMs            *int64  `json:"size_ms"`
	AllowedLatenessMs *int64  `json:"allowed_lateness_ms"`
	TsField           *string `json:"ts_field"` // nil: the log's time, unless the side has a field of its own
	LeftTsField       *string `json:"left_ts_field"`
	RightTsField      *string `json:"right_ts_field"`
}

// JoinEmit says what a row holds, and how many there may be.
type JoinEmit struct {
	LeftFields  []string `json:"left_fields"` // empty: the whole message
	RightFields []string `json:"right_fields"`
	MaxRows     *int     `json:"max_rows"`
	MissingAs   string   `json:"missing_as"` // "null" (also ""), "empty"
}

// JoinDedupe says how often a message may be in a row.
type JoinDedupe struct {
	Mode string `json:"mode"` // "once", "none"
}

// ParseJoin reads a request. The error is a *RequestError.
func ParseJoin(body []byte) (*JoinRequest, error) {
	r := new(JoinRequest)
	if err := decodeStrict(body, r); err != nil {
		return nil, err
	}
	if err := r.Left.check("left", joinScanDefault); err != nil {
		return nil, err
	}
	if err := r.Right.check("right", joinScanDefault); err != nil {
		return nil, err
	}
	if _, err := r.compile(); err != nil { // everything but the formats
		return nil, err
	}
	return r, nil
}

// Compile makes what can be run; the formats decode as Left.Decode and Right.Decode say. The error is a *RequestError.
func (r *JoinRequest) Compile(left, right Format) (*Join, error) {
	j, err := r.compile()
	if err != nil {
		return nil, err
	}
	j.sides[leftSide].format, j.sides[rightSide].format = left, right
	return j, nil
}

func (r *JoinRequest) compile() (*Join, error) {
	j := &Join{sizeMs: joinSizeMsDefault, rows: joinRowsDefault}
	for _, step := range []func(*Join) error{r.compileKind, r.compileWindow, r.compileEmit, r.compileDedupe, r.compileSides} {
		if err := step(j); err != nil {
			return nil, err
		}
	}
	return j, nil
}

func (r *JoinRequest) compileKind(j *Join) error {
	switch r.Join.Type {
	case "", "inner":
	case "left":
		j.outer[leftSide] = true
	case "right":
		j.outer[rightSide] = true
	case "full":
		j.outer = [2]bool{true, true}
	default:
		return badQuery("join.type", "is %q: it can be inner, left, right or full", r.Join.Type)
	}
	return nil
}

func (r *JoinRequest) compileWindow(j *Join) error {
	w := &r.Window
	if err := inRange("window.size_ms", w.SizeMs, 0, windowMsMax); err != nil {
		return err
	}
	if err := inRange("window.allowed_lateness_ms", w.AllowedLatenessMs, 0, windowMsMax); err != nil {
		return err
	}
	if w.SizeMs != nil {
		j.sizeMs = *w.SizeMs
	}
	if w.AllowedLatenessMs != nil {
		j.latenessMs = *w.AllowedLatenessMs
	}
	return nil
}

func (r *JoinRequest) compileEmit(j *Join) error {
	if err := inRange("emit.max_rows", r.Emit.MaxRows, 1, rowsMax); err != nil {
		return err
	}
	if r.Emit.MaxRows != nil {
		j.rows = *r.Emit.MaxRows
	}
	switch r.Emit.MissingAs {
	case "", "null":
	case "empty":
		j.missingEmpty = true
	default:
		return badQuery("emit.missing_as", "is %q: it can be null or empty", r.Emit.MissingAs)
	}
	return nil
}

func (r *JoinRequest) compileDedupe(j *Join) error {
	if r.DedupeOnce != nil {
		j.once = *r.DedupeOnce
	}
	if r.Dedupe == nil {
		return nil
	}
	if r.Dedupe.Mode != "once" && r.Dedupe.Mode != "none" {
		return badQuery("dedupe.mode", "is %q: it can be once or none", r.Dedupe.Mode)
	}
	once := r.Dedupe.Mode == "once"
	if r.DedupeOnce != nil && *r.DedupeOnce != once {
		return badQuery("dedupe.mode", "says something else than dedupe_once")
	}
	j.once = once
	return nil
}

func (r *JoinRequest) compileSides(j *Join) error {
	left, leftPath, err := keyFields("on.left_key", r.On.LeftKeys, r.On.LeftKey)
	if err != nil {
		return err
	}
	right, rightPath, err := keyFields("on.right_key", r.On.RightKeys, r.On.RightKey)
	if err != nil {
		return err
	}
	if len(left) != len(right) {
		return badQuery("on.right_keys", "has to have as many fields as left_keys")
	}
	l := sideRequest{"left", &r.Left, left, leftPath, r.Window.LeftTsField, r.Window.TsField, r.Emit.LeftFields}
	if j.sides[leftSide], err = l.compile(); err != nil {
		return err
	}
	s := sideRequest{"right", &r.Right, right, rightPath, r.Window.RightTsField, r.Window.TsField, r.Emit.RightFields}
	j.sides[rightSide], err = s.compile()
	return err
}

// keyFields are the key's fields, and the path of the member that names them. path is that of the single field.
func keyFields(path string, many []string, one *string) ([]string, string, error) {
	switch {
	case one != nil && many != nil:
		return nil, "", badQuery(path, "cannot be given besides "+path[len("on."):]+"s")
	case one != nil:
		return []string{*one}, path, nil
	case len(many) == 0:
		return nil, "", badQuery(path+"s", "is missing")
	case len(many) > keyFieldsMax:
		return nil, "", badQuery(path+"s", "has more than %d fields", keyFieldsMax)
	}
	return slices.Clone(many), path + "s", nil
}
