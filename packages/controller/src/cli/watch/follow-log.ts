import type { LogLine } from "../../api/contract.js";
import type { Api } from "../api.js";
import type { Outside } from "../outside.js";
import { isPassing, Pause } from "./pause.js";

/**
 * The lines of a run's log as they come, from the first on, until the run has ended or the signal aborts. Goes on where it
 * was after belayd was away: no line is missed, none comes twice.
 */
export async function* followLog(
  api: Api,
  run: string,
  host: string | undefined,
  { sleep }: Pick<Outside, "sleep">,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  const { id } = await api.run(run);
  const pause = new Pause(sleep);
  let after = 0;
  while (!signal.aborted) {
    try {
      for await (const { event, data } of api.logStream(id, host, after, signal)) {
        if (event !== "line") continue;
        const line = JSON.parse(data) as LogLine;
        after = line.seq;
        pause.reset();
        yield line;
      }
      // belayd ends the stream with the run, but also when it stops itself.
      if ((await api.run(id)).status === "ended") return;
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
    await pause.take(signal);
  }
}
