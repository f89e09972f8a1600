// Loaded into belayd by the bench: on SIGUSR2 it collects its garbage and writes what memory it holds into
// BELAY_BENCH_MEMORY. Without collecting, what a start or a thousand handshakes leave behind would count as the price of
// a connection; from outside, only the whole process can be seen.
import { renameSync, writeFileSync } from "node:fs";

const file = process.env.BELAY_BENCH_MEMORY;

process.on("SIGUSR2", () => {
  // The second one collects what finalizers of the first have let go.
  globalThis.gc();
  globalThis.gc();
  writeFileSync(`${file}.new`, JSON.stringify(process.memoryUsage()));
  renameSync(`${file}.new`, file);
});
