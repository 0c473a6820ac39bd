// Writes proto.json: Protobuf messages by protobufjs, an implementation that is not ours, with what a query should see of them.
//
//	npm install protobufjs@8.8.1 long@5.3.2 && node proto.mjs > proto.json      (written with Node.js 20.20.2)
//
// The file is committed, so that the tests need none of this.
import Long from 'long';
import protobuf from 'protobufjs';

protobuf.util.Long = Long;
protobuf.configure();

const cases = [];
function add(name, text, message, pairs, options = {}) {
  const root = protobuf.parse(text, { keepCase: true }).root;
  const common = ['timestamp', 'duration', 'wrappers', 'struct'];
  for (const file of common) {
    const known = protobuf.common.get(`google/protobuf/${file}.proto`);
    if (text.includes(`${file}.proto`) && known) root.addJSON(known.nested);
  }
  root.resolveAll();
  const type = root.lookupType(message);
  cases.push({
    name, schema: text, message, applyDefaults: options.applyDefaults ?? true,
    messages: pairs.map(([value, want, json]) => {
      return { binary: Buffer.from(type.encode(type.fromObject(value)).finish()).toString('base64'), want, json: json || '' };
    }),
  });
}

const scalars = `syntax = "proto3";
package shop;
message Scalars {
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4; sint32 s32 = 5; sint64 s64 = 6;
  fixed32 f32 = 7; fixed64 f64 = 8; sfixed32 sf32 = 9; sfixed64 sf64 = 10;
  float f = 11; double d = 12; bool ok = 13; string text = 14; bytes raw = 15;
  Kind kind = 40; optional int32 maybe = 41;
}
enum Kind { NONE = 0; BIG = 5; }
`;
const full = {
  i32: -5, i64: '-9007199254740993', u32: 4294967295, u64: '18446744073709551615', s32: -2147483648, s64: '-9223372036854775808',
  f32: 7, f64: '9007199254740993', sf32: -8, sf64: '-9', f: 0.5, d: -1e300, ok: true, text: 'Zoë 😀', raw: Buffer.from([0, 255]), kind: 5, maybe: 0,
};
const fullWant = '{"i32":-5,"i64":-9007199254740993,"u32":4294967295,"u64":18446744073709551615,"s32":-2147483648,"s64":-9223372036854775808,' +
  '"f32":7,"f64":9007199254740993,"sf32":-8,"sf64":-9,"f":0.5,"d":-1e+300,"ok":true,"text":"Zoë 😀","raw":"AP8=","kind":"BIG","maybe":0}';
const emptyWant = '{"i32":0,"i64":0,"u32":0,"u64":0,"s32":0,"s64":0,"f32":0,"f64":0,"sf32":0,"sf64":0,"f":0,"d":0,"ok":false,"text":"","raw":"","kind":"NONE"}';
add('scalars', scalars, 'Scalars', [
  [full, fullWant, '{"i32":-5,"i64":"-9007199254740993","u32":4294967295,"u64":"18446744073709551615","s32":-2147483648,"s64":"-9223372036854775808",' +
    '"f32":7,"f64":"9007199254740993","sf32":-8,"sf64":"-9","f":0.5,"d":-1e300,"ok":true,"text":"Zoë 😀","raw":"AP8=","kind":"BIG","maybe":0}'],
  [{}, emptyWant, '{}'],
  [{ kind: 77 }, emptyWant.replace('"NONE"', '77'), '{"kind":77}'],
]);
add('scalars without defaults', scalars, 'shop.Scalars', [[full, fullWant], [{}, '{}'], [{ i32: 1 }, '{"i32":1}']], { applyDefaults: false });
add('nested', `syntax = "proto3";
message Order {
  message Line { string sku = 1; int32 n = 2; }
  repeated Line lines = 1;
  map<string, Line> by_name = 2;
  map<int32, string> names = 3;
  repeated int64 numbers = 4;
  repeated string tags = 5;
  repeated Kind kinds = 6;
  Order parent = 7;
  oneof how { string card = 8; Line line = 9; bool cash = 10; }
  map<bool, double> flags = 11;
  enum Kind { A = 0; B = 1; }
}`, 'Order', [
  [{
    lines: [{ sku: 'a', n: 1 }, { sku: 'b' }], by_name: { z: { sku: 'z' }, m: {} }, names: { 10: 'ten', 9: 'nine', '-1': 'minus' }, numbers: [1, -1, 300],
    tags: ['x', ''], kinds: [1, 0, 9], parent: { tags: ['p'], cash: false }, line: { n: 4 }, flags: { true: 1.5, false: -2 },
  },
  '{"lines":[{"sku":"a","n":1},{"sku":"b","n":0}],"by_name":{"m":{"sku":"","n":0},"z":{"sku":"z","n":0}},"names":{"-1":"minus","9":"nine","10":"ten"},"numbers":[1,-1,300],' +
  '"tags":["x",""],"kinds":["B","A",9],"parent":{"lines":[],"by_name":{},"names":{},"numbers":[],"tags":["p"],"kinds":[],"cash":false,"flags":{}},"line":{"sku":"","n":4},"flags":{"false":-2,"true":1.5}}',
  '{"lines":[{"sku":"a","n":1},{"sku":"b"}],"byName":{"z":{"sku":"z"},"m":{}},"names":{"10":"ten","9":"nine","-1":"minus"},"numbers":["1",-1,"300"],"tags":["x",""],"kinds":["B","A",9],' +
  '"parent":{"tags":["p"],"cash":false},"line":{"n":4},"flags":{"true":1.5,"false":-2},"unknown":[1]}'],
  [{}, '{"lines":[],"by_name":{},"names":{},"numbers":[],"tags":[],"kinds":[],"flags":{}}', '{}'],
]);
add('proto2', `syntax = "proto2";
package old;
message Item {
  required int32 id = 1; optional string name = 2 [default = "anon"]; optional int32 count = 3; repeated int32 list = 4 [packed = true];
  repeated int32 loose = 5; optional Level level = 6 [default = HIGH]; optional bytes raw = 7 [default = "\\001x"];
  enum Level { LOW = 1; HIGH = 2; }
}`, 'Item', [
  [{ id: 1, list: [1, 2], loose: [3, 4], level: 1, name: '' }, '{"id":1,"name":"","list":[1,2],"loose":[3,4],"level":"LOW","raw":"AXg="}'],
  [{ id: 0, count: 0 }, '{"id":0,"name":"anon","count":0,"list":[],"loose":[],"level":"HIGH","raw":"AXg="}', '{"id":0,"count":0}'],
]);
add('well-known types', `syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
message Event {
  google.protobuf.Timestamp at = 1; google.protobuf.Duration took = 2; google.protobuf.Int64Value n = 3; google.protobuf.StringValue s = 4;
  google.protobuf.Struct data = 5; google.protobuf.Value any = 6; google.protobuf.ListValue list = 7; google.protobuf.BoolValue no = 8;
}`, 'Event', [
  [{
    at: { seconds: 1712345678, nanos: 901000000 }, took: { seconds: -1, nanos: -500000000 }, n: { value: 0 }, s: { value: 'x' },
    data: { fields: { b: { numberValue: 1.5 }, a: { listValue: { values: [{ boolValue: true }, { nullValue: 0 }] } }, c: { structValue: { fields: { d: { stringValue: 'deep' } } } } } },
    any: { stringValue: 'v' }, list: { values: [{ numberValue: 1 }] },
  },
  '{"at":"2024-04-05T19:34:38.901Z","took":"-1.5s","n":0,"s":"x","data":{"a":[true,null],"b":1.5,"c":{"d":"deep"}},"any":"v","list":[1]}',
  '{"at":"2024-04-05T19:34:38.901Z","took":"-1.5s","n":"0","s":"x","data":{"b":1.5,"a":[true,null],"c":{"d":"deep"}},"any":"v","list":[1]}'],
  [{ at: { seconds: -1 }, took: {} }, '{"at":"1969-12-31T23:59:59Z","took":"0s"}', '{"at":"1969-12-31T23:59:59Z","took":"0s"}'],
]);
console.log(JSON.stringify(cases, null, 1));
