-- Synced NDJSON produce: LINES messages in one atomic request.
--
--   wrk  -t1 -c16 -d10s --latency -s bench/wrk/ndjson.lua http://127.0.0.1:1109
--   wrk2 -t1 -c16 -d10s -R500 --latency -s bench/wrk/ndjson.lua http://127.0.0.1:1109
--
-- Environment: TOKEN (dev), TOPIC (bench), SIZE of a line (64), LINES (100), PARTITIONS (1).
-- Messages per second are LINES times what wrk prints; the last line says so.

local token = os.getenv("TOKEN") or "dev"
local topic = os.getenv("TOPIC") or "bench"
local size = tonumber(os.getenv("SIZE") or "64")
local lines = tonumber(os.getenv("LINES") or "100")
local partitions = tonumber(os.getenv("PARTITIONS") or "1")

local requests = {}
local turn = 0

function init(args)
  local headers = { ["Authorization"] = "Bearer " .. token }
  local line = '"' .. string.rep("m", size - 2) .. '"\n'
  for p = 0, partitions - 1 do
    local path = "/broker/topics/" .. topic .. "/produce-ndjson?partition=" .. p
    requests[p + 1] = wrk.format("POST", path, headers, string.rep(line, lines))
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
  io.write(string.format("Messages/sec: %.0f\n", summary.requests * lines / summary.duration * 1e6))
end
