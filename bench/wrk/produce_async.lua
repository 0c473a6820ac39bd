-- Produce without waiting for the disk: timeout_ms=0 answers "synced":false at once and
-- the write goes on. Compare with GET /health, which is the most the same loop can do:
--
--   wrk -t1 -c64 -d10s --latency http://127.0.0.1:1109/health
--
--   wrk  -t1 -c64  -d10s --latency -s bench/wrk/produce_async.lua http://127.0.0.1:1109
--   wrk2 -t1 -c64  -d10s -R20000 --latency -s bench/wrk/produce_async.lua http://127.0.0.1:1109
--
-- Environment: TOKEN (dev), TOPIC (bench), SIZE of a message (64), PARTITIONS to spread over (1).
-- Make the topic first, or let the server make it with its default of 8 partitions:
--
--   curl -H 'Authorization: Bearer dev' -d '{"name":"bench","partitions":1}' http://127.0.0.1:1109/broker/topics
--
-- wrk measures a closed loop: it sends when it has an answer, so its percentiles leave
-- out what a stalled server kept it from sending. wrk2 sends by the clock, but rounds
-- its waits to a millisecond; ayder-bench -rate does neither.

local token = os.getenv("TOKEN") or "dev"
local topic = os.getenv("TOPIC") or "bench"
local size = tonumber(os.getenv("SIZE") or "64")
local partitions = tonumber(os.getenv("PARTITIONS") or "1")

-- Requests are formatted once per thread; request() only picks one.
local requests = {}
local turn = 0

function init(args)
  local headers = { ["Authorization"] = "Bearer " .. token }
  for p = 0, partitions - 1 do
    local path = "/broker/topics/" .. topic .. "/produce?timeout_ms=0&partition=" .. p
    requests[p + 1] = wrk.format("POST", path, headers, string.rep("m", size))
  end
end

function request()
  turn = turn % partitions + 1
  return requests[turn]
end

function done(summary, latency, calls)
  local e = summary.errors
  if e.status + e.connect + e.read + e.write + e.timeout > 0 then
    io.write(string.format("FAILED: %d statuses, %d connects, %d reads, %d writes, %d timeouts\n",
      e.status, e.connect, e.read, e.write, e.timeout))
  end
end
