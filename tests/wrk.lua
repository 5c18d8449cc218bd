-- wrk's script: one kind of request again and again, and what came of it as a line of JSON.
-- Arguments: method, body ("" for none), then names and values of headers.
function init(arguments)
  local headers = {}
  for i = 3, #arguments, 2 do headers[arguments[i]] = arguments[i + 1] end
  if arguments[2] ~= "" then headers["content-type"] = "application/json" end
  request_bytes = wrk.format(arguments[1], nil, headers, arguments[2] ~= "" and arguments[2] or nil)
  refused = 0
end

function request() return request_bytes end

-- With PAUSE each connection asks again so many milliseconds after its answer, and as Retry-After says after a refusal;
-- which one of those that were refused at the same time waits for which is all the same.
-- Without it these do not exist: they would cost wrk time for each answer.
local pause = os.getenv("PAUSE")
if pause then
  local to_wait = 0

  function delay()
    if to_wait == 0 then return tonumber(pause) end
    to_wait = to_wait - 1
    return 1000 + math.random(500)
  end

  function response(status, headers)
    if status == 503 and headers["retry-after"] == "1" then
      refused = refused + 1
      to_wait = to_wait + 1
    end
  end
end

local only_thread
function setup(thread) only_thread = thread end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"answers": %d, "seconds": %f, "failed": %d, "refused": %d, "lost": %d, "p50": %f, "p99": %f, "max": %f}\n',
    summary.requests, summary.duration / 1e6, errors.status, only_thread:get("refused"),
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, latency.max / 1e6))
end
