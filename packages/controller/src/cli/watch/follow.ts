import type { BelayError } from "@belay/shared";
import type { RunView } from "../../api/contract.js";
import type { Api } from "../api.js";
import type { Outside } from "../outside.js";
import { isPassing, Pause } from "./pause.js";

/** What a follower sees of a run: how it stands, or that belayd can't be reached for the moment. */
export type Sighting =
  | { readonly kind: "view"; readonly view: RunView }
  | { readonly kind: "lost"; readonly error: BelayError };

/**
 * Follows a run until it has ended or the signal aborts, coming back by itself whenever belayd goes away and returns.
 * Throws when belayd can't be reached at all, or refuses.
 */
export async function* followRun(
  api: Api,
  run: string,
  { sleep }: Pick<Outside, "sleep">,
  signal: AbortSignal,
): AsyncGenerator<Sighting> {
  // Pins `latest` and prefixes to one run, and says at once if there is none.
  const first = await api.run(run);
  yield { kind: "view", view: first };
  if (first.status === "ended") return;
  const pause = new Pause(sleep);
  while (!signal.aborted) {
    try {
      for await (const { event, data } of api.runStream(first.id, signal)) {
        if (event !== "view") continue;
        const view = JSON.parse(data) as RunView;
        pause.reset();
        yield { kind: "view", view };
        if (view.status === "ended") return;
      }
    } catch (error) {
      if (!isPassing(error)) throw error;
      yield { kind: "lost", error };
    }
    await pause.take(signal);
  }
}
