// Writes avro.json: Avro messages by avsc, an implementation that is not ours, with what a query should see of them.
//
//	npm install avsc@5.7.9 && node avro.mjs > avro.json      (written with Node.js 20.20.2)
//
// The file is committed, so that the tests need none of this.
import avsc from 'avsc';

// Longs of 64 bits, which JavaScript's numbers cannot hold.
const long = avsc.types.LongType.__with({
  fromBuffer: (b) => b.readBigInt64LE(),
  toBuffer: (n) => { const b = Buffer.alloc(8); b.writeBigInt64LE(BigInt(n)); return b; },
  fromJSON: BigInt, toJSON: Number,
  isValid: (n) => typeof n === 'bigint', compare: (a, b) => (a < b ? -1 : a > b ? 1 : 0),
});
const typeHook = (schema) => (schema === 'long' || schema.type === 'long' ? long : undefined);

const cases = [];
function add(name, schema, pairs, readers = []) {
  const type = avsc.Type.forSchema(schema, { typeHook, wrapUnions: true });
  cases.push({
    name, schema: JSON.stringify(schema),
    messages: pairs.map(([value, want]) => ({ binary: type.toBuffer(value).toString('base64'), want })),
    texts: pairs.filter((p) => p[2]).map(([value, want, text]) => ({ text: text === true ? type.toString(value) : text, want })),
    readers: readers.map(([reader, wants]) => ({ schema: JSON.stringify(reader), wants })),
  });
}

const user = {
  type: 'record', name: 'User', namespace: 'shop', fields: [
    { name: 'id', type: 'long' },
    { name: 'name', type: 'string' },
    { name: 'age', type: ['null', 'int'], default: null },
    { name: 'score', type: 'double' },
    { name: 'ok', type: 'boolean' },
  ],
};
add('record', user, [
  [{ id: 1n, name: 'Ada', age: null, score: 1.5, ok: true }, '{"id":1,"name":"Ada","age":null,"score":1.5,"ok":true}'],
  [{ id: 9007199254740993n, name: 'Zoë "q" \n 😀', age: { int: -7 }, score: -0.25, ok: false },
    '{"id":9007199254740993,"name":"Zoë \\"q\\" \\n 😀","age":-7,"score":-0.25,"ok":false}'],
  [{ id: -9223372036854775808n, name: '', age: { int: 2147483647 }, score: 1e300, ok: true },
    '{"id":-9223372036854775808,"name":"","age":2147483647,"score":1e+300,"ok":true}'],
  [{ id: 9223372036854775807n, name: 'x'.repeat(300), age: { int: -2147483648 }, score: 0, ok: true },
    `{"id":9223372036854775807,"name":"${'x'.repeat(300)}","age":-2147483648,"score":0,"ok":true}`],
]);
add('evolution', {
  type: 'record', name: 'User', namespace: 'shop', fields: [
    { name: 'id', type: 'int' }, { name: 'nick', type: 'string' }, { name: 'gone', type: 'bytes' }, { name: 'raw', type: 'bytes' },
    { name: 'state', type: { type: 'enum', name: 'State', symbols: ['NEW', 'OLD', 'ODD'] } },
  ],
}, [
  [{ id: 5, nick: 'ab', gone: Buffer.from('zz'), raw: Buffer.from('hello'), state: 'OLD' },
    '{"id":5,"nick":"ab","gone":"eno=","raw":"aGVsbG8=","state":"OLD"}', true],
  [{ id: -6, nick: 'cd', gone: Buffer.from(''), raw: Buffer.from('x'), state: 'ODD' },
    '{"id":-6,"nick":"cd","gone":"","raw":"eA==","state":"ODD"}', true],
], [
  [{
    type: 'record', name: 'Person', aliases: ['shop.User'], fields: [
      { name: 'name', type: 'string', aliases: ['nick'] },
      { name: 'id', type: 'double' },
      { name: 'raw', type: 'string' },
      { name: 'city', type: ['null', 'string'], default: null },
      { name: 'tags', type: { type: 'array', items: 'string' }, default: ['a', 'b'] },
      { name: 'level', type: 'long', default: 7 },
      { name: 'state', type: { type: 'enum', name: 'State', namespace: 'shop', symbols: ['UNKNOWN', 'NEW', 'OLD'], default: 'UNKNOWN' } },
    ],
  }, [
    '{"name":"ab","id":5,"raw":"hello","city":null,"tags":["a","b"],"level":7,"state":"OLD"}',
    '{"name":"cd","id":-6,"raw":"x","city":null,"tags":["a","b"],"level":7,"state":"UNKNOWN"}',
  ]],
]);
add('nested', {
  type: 'record', name: 'Order', fields: [
    { name: 'lines', type: { type: 'array', items: { type: 'record', name: 'Line', fields: [{ name: 'sku', type: 'string' }, { name: 'n', type: 'int' }] } } },
    { name: 'labels', type: { type: 'map', values: ['null', 'string', 'Line'] } },
    { name: 'mac', type: { type: 'fixed', name: 'Mac', size: 6 } },
    { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['A', 'B'] } },
    { name: 'f', type: 'float' },
    { name: 'nothing', type: 'null' },
  ],
}, [
  [{ lines: [{ sku: 'a', n: 1 }, { sku: 'b', n: 2 }], labels: { z: { string: 'last' }, a: null, m: { Line: { sku: 'c', n: 3 } } }, mac: Buffer.from([1, 2, 3, 4, 5, 255]), kind: 'B', f: 0.5, nothing: null },
    '{"lines":[{"sku":"a","n":1},{"sku":"b","n":2}],"labels":{"a":null,"m":{"sku":"c","n":3},"z":"last"},"mac":"AQIDBAX/","kind":"B","f":0.5,"nothing":null}', true],
  [{ lines: [], labels: {}, mac: Buffer.alloc(6), kind: 'A', f: -2, nothing: null },
    '{"lines":[],"labels":{},"mac":"AAAAAAAA","kind":"A","f":-2,"nothing":null}', true],
]);
add('recursion', {
  type: 'record', name: 'Node', namespace: 'a.b', fields: [{ name: 'v', type: 'int' }, { name: 'next', type: ['null', 'Node'], default: null }],
}, [
  [{ v: 1, next: { 'a.b.Node': { v: 2, next: { 'a.b.Node': { v: 3, next: null } } } } }, '{"v":1,"next":{"v":2,"next":{"v":3,"next":null}}}', true],
]);
add('logical', {
  type: 'record', name: 'L', fields: [
    { name: 'ms', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'us', type: { type: 'long', logicalType: 'timestamp-micros' } },
    { name: 'lms', type: { type: 'long', logicalType: 'local-timestamp-millis' } },
    { name: 'd', type: { type: 'int', logicalType: 'date' } },
    { name: 'tms', type: { type: 'int', logicalType: 'time-millis' } },
    { name: 'tus', type: { type: 'long', logicalType: 'time-micros' } },
    { name: 'dec', type: { type: 'bytes', logicalType: 'decimal', precision: 30, scale: 2 } },
    { name: 'fdec', type: { type: 'fixed', name: 'D16', size: 16, logicalType: 'decimal', precision: 38, scale: 0 } },
    { name: 'id', type: { type: 'string', logicalType: 'uuid' } },
    { name: 'dur', type: { type: 'fixed', name: 'Dur', size: 12, logicalType: 'duration' } },
  ],
}, [
  [{ ms: 1712345678901n, us: 1712345678901234n, lms: 0n, d: 19818, tms: 45296789, tus: 45296789012n, dec: Buffer.from([0x04, 0xd2]), fdec: Buffer.from('ffffffffffffffffffffffffffffff85', 'hex'),
    id: '6f1b3a1e-0000-4000-8000-000000000001', dur: Buffer.from('010000000200000003000000', 'hex') },
  '{"ms":"2024-04-05T19:34:38.901Z","us":"2024-04-05T19:34:38.901234Z","lms":"1970-01-01T00:00:00Z","d":"2024-04-05","tms":"12:34:56.789","tus":"12:34:56.789012",' +
  '"dec":12.34,"fdec":-123,"id":"6f1b3a1e-0000-4000-8000-000000000001","dur":"P1M2DT0.003S"}', true],
  [{ ms: -1n, us: -1n, lms: 9223372036854775807n, d: -1, tms: 0, tus: 0n, dec: Buffer.from([0xff]), fdec: Buffer.from('00000000000000010000000000000000', 'hex'),
    id: '', dur: Buffer.alloc(12) },
  '{"ms":"1969-12-31T23:59:59.999Z","us":"1969-12-31T23:59:59.999999Z","lms":9223372036854775807,"d":"1969-12-31","tms":"00:00:00.000","tus":"00:00:00.000000",' +
  '"dec":-0.01,"fdec":18446744073709552000,"id":"","dur":"P0D"}'],
]);
add('top-level values', { type: 'array', items: ['null', 'long', 'string'] }, [
  [[{ long: 1n }, null, { string: 'x' }], '[1,null,"x"]', '[{"long":1},null,{"string":"x"}]'], [[], '[]', true],
]);
console.log(JSON.stringify(cases, null, 1));
