// Package cloudevent reads and writes CloudEvents 1.0.2 (github.com/cloudevents/spec) as messages of the log.
//
// A stored event is what the Kafka binding's binary mode has: the message's value is the event's data, its headers are content-type, for the attribute
// datacontenttype, and ce_ with the name of every other attribute, whose values are their canonical strings:
//
//	content-type: application/json | ce_specversion: 1.0 | ce_id: 7 | ce_source: /shop | ce_type: order | …       {"amount":3}
//
// So an event comes out the same whichever way it went in, whoever reads messages without knowing CloudEvents reads the data, and a message with such headers from
// elsewhere is an event. What is lost is the type of an extension attribute's value: numbers and truth values come back as strings, as from any binary mode.
//
//	json.go     structured and batched mode, read
//	binary.go   HTTP headers, read
//	check.go    what attributes may be
//	render.go   messages as JSON events, also those that never were events
package cloudevent
