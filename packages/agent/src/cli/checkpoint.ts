import { BelayError } from "@belay/shared";
import type { WitnessMemory } from "../witness/memory.js";

/** The newest one of the log that is trusted. Tells of others by `warn`. Throws `checkpoint-unknown`. */
export async function newestCheckpoint(memory: WitnessMemory, warn: (line: string) => void): Promise<string> {
  const trusted = await memory.trusted();
  const newest = trusted === null ? null : await memory.newest(trusted.log);
  if (newest === null) throw noCheckpoint();
  const others = (await memory.all()).filter(({ checkpoint }) => checkpoint.origin !== newest.checkpoint.origin);
  if (others.length > 0) {
    const names = others.map(({ checkpoint }) => `${checkpoint.origin} (${checkpoint.size} entries)`).join(", ");
    warn(`other logs were followed before: ${names}; --all prints all`);
  }
  return newest.note;
}

/** With an empty line between two. Throws `checkpoint-unknown`. */
export async function everyCheckpoint(memory: WitnessMemory): Promise<string> {
  const all = await memory.all();
  if (all.length === 0) throw noCheckpoint();
  return all.map(({ note }) => note).join("\n");
}

function noCheckpoint(): BelayError {
  return new BelayError("checkpoint-unknown", "this host has seen no checkpoint of belayd's audit log yet", {
    hint: "belayd shows one to every agent that connects",
  });
}
