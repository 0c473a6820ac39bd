// Follows a partition with the npm package "eventsource" until COUNT messages have come, whatever happens to the server
// meanwhile, and fails if an offset is missing, comes twice or out of order. To be run by hand, beside a producer and
// somebody who kills and restarts the server:
//
//	npm install eventsource && node eventsource.mjs http://127.0.0.1:1109/broker/consume/TOPIC/GROUP/0?offset=0 COUNT [TOKEN]
import { EventSource } from 'eventsource';

const [url, count, token = 'dev'] = process.argv.slice(2);
let next = 0, breaks = 0;

const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});

source.onmessage = (e) => {
  const m = JSON.parse(e.data);
  if (Number(e.lastEventId) !== next || m.offset !== next) {
    console.error(`offset ${m.offset}, id ${e.lastEventId} instead of ${next}`);
    process.exit(1);
  }
  if (++next === Number(count)) {
    console.log(`${next} messages, each once and in order; the connection broke ${breaks} times`);
    source.close();
  }
};

source.onerror = (e) => {
  if (source.readyState === EventSource.CLOSED) {
    console.error(`given up at ${next}: ${e.code ?? ''} ${e.message ?? ''}`);
    process.exit(1);
  }
  breaks++;
};
