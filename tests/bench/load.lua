-- wrk's script: one kind of request, and the result as a line of JSON.
-- Arguments: method, body ("" for none), then names and values of headers.
function init(arguments)
  local headers = {}
  for i = 3, #arguments, 2 do headers[arguments[i]] = arguments[i + 1] end
  if arguments[2] ~= "" then headers["content-type"] = "application/json" end
  request_bytes = wrk.format(arguments[1], nil, headers, arguments[2] ~= "" and arguments[2] or nil)
end

function request() return request_bytes end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "errors": %d, "p50": %f, "p99": %f, "max": %f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
