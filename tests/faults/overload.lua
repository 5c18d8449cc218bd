-- Each connection asks again after PAUSE milliseconds; at the end it tells what was answered.
local pause = tonumber(os.getenv("PAUSE"))
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  good, refused, unclear = 0, 0, 0
end

function delay()
  return pause
end

function response(status, headers)
  if status == 200 then
    good = good + 1
  elseif status == 503 and headers["retry-after"] then
    refused = refused + 1
  else
    unclear = unclear + 1
  end
end

function done(summary)
  local sums = { good = 0, refused = 0, unclear = 0 }
  for _, thread in ipairs(threads) do
    for name, sum in pairs(sums) do
      sums[name] = sum + thread:get(name)
    end
  end
  io.write(string.format("answers good %d refused %d unclear %d\n", sums.good, sums.refused, sums.unclear))
end
