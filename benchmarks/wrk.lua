-- Sends complete requests from a file, each once before any again, and reports in one line of JSON.
--   wrk ... -s wrk.lua URL -- FILE FIRST MODE
-- FILE holds requests, each after its length in bytes on a line of its own; FIRST is the place to begin at (0 is the
-- first); MODE is `again` to begin anew after the last, or `once` to end the run there.

local requests, place, is_once = {}, 0, false

function init(args)
   local file = assert(io.open(args[1], "rb"))
   for length in function() return file:read("*l") end do
      requests[#requests + 1] = file:read(tonumber(length))
   end
   file:close()
   place, is_once = tonumber(args[2]), args[3] == "once"
end

function request()
   if is_once and place == #requests then
      wrk.thread:stop()
      return "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
   end
   place = place % #requests + 1
   return requests[place]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '{"answers": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, "bad_status": %d, "broken": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      latency.max / 1e3, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
