-- Pages of LIMIT messages, walking through the first MESSAGES of a partition.
--
--   ayder-bench -workload produce -c 64 -n 100000        (fills the topic "bench")
--   wrk  -t1 -c64 -d10s --latency -s bench/wrk/consume.lua http://127.0.0.1:1109
--   wrk2 -t1 -c64 -d10s -R5000 --latency -s bench/wrk/consume.lua http://127.0.0.1:1109
--
-- Environment: TOKEN (dev), TOPIC (bench), PARTITION (0), LIMIT (100), MESSAGES (100000),
-- ENCODING (b64; empty for plain JSON strings).

local token = os.getenv("TOKEN") or "dev"
local topic = os.getenv("TOPIC") or "bench"
local partition = os.getenv("PARTITION") or "0"
local limit = tonumber(os.getenv("LIMIT") or "100")
local messages = tonumber(os.getenv("MESSAGES") or "100000")
local encoding = os.getenv("ENCODING") or "b64"

-- 64 different pages are enough to keep one from being served over and over.
local pages = 64
local requests = {}
local turn = 0

function init(args)
  local headers = { ["Authorization"] = "Bearer " .. token }
  local step = math.floor(math.max(messages - limit, 0) / pages)
  for page = 0, pages - 1 do
    local path = string.format("/broker/consume/%s/wrk/%s?offset=%d&limit=%d", topic, partition, page * step, limit)
    if encoding ~= "" then
      path = path .. "&encoding=" .. encoding
    end
    requests[page + 1] = wrk.format("GET", path, headers)
  end
end

function request()
  turn = turn % pages + 1
  return requests[turn]
end

function done(summary, latency, calls)
  local e = summary.errors
  if e.status + e.connect + e.read + e.write + e.timeout > 0 then
    io.write(string.format("FAILED: %d statuses, %d connects, %d reads, %d writes, %d timeouts\n",
      e.status, e.connect, e.read, e.write, e.timeout))
  end
  io.write(string.format("Messages/sec: %.0f\n", summary.requests * limit / summary.duration * 1e6))
end
