-- Sends complete requests from a file, each once before any again, and reports in one line of JSON.
--   wrk ... -s wrk.lua URL -- FILE FIRST MODE CONNECTIONS
-- FILE holds requests, each after its length in bytes on a line of its own; FIRST is the place to begin at (0 is the
-- first); MODE is `again` to begin anew after the last, or `once` to send no more and to say "answered" when all
-- CONNECTIONS have read their last answer. wrk itself waits until its time is up or it is interrupted.

local requests, place, is_tried, idle = {}, 0, false, 0
local FOREVER_MS = 24 * 3600 * 1000

function init(args)
   local file = assert(io.open(args[1], "rb"))
   for length in function() return file:read("*l") end do
      requests[#requests + 1] = file:read(tonumber(length))
   end
   file:close()
   place = tonumber(args[2])
   if args[3] == "once" then
      local connections = tonumber(args[4])
      local allowed = 0
      -- Asked before each request, which may then be made a little later.
      delay = function()
         allowed = allowed + 1
         if allowed <= #requests then return 0 end
         idle = idle + 1
         if idle == connections then
            io.write("answered\n")
            io.flush()
         end
         return FOREVER_MS
      end
   end
end

function request()
   -- The first time wrk only looks at what it gets.
   if not is_tried then
      is_tried = true
      return requests[1]
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
