// Appends to an audit log until it is killed, and says on stdout which entries were acknowledged: what a crash test reads.
import { writeSync } from "node:fs";
import { entry, openLog } from "./scene.js";

const [dir = "", from = "0"] = process.argv.slice(2);
const log = await openLog(dir, { checkpointEveryMs: 5 });
log.watch(({ checkpoint }) => writeSync(1, `checkpoint ${checkpoint.size} ${checkpoint.root.toString("hex")}\n`));
for (let round = Number(from); ; round += 1) {
  const group = Array.from({ length: 1 + (round % 7) }, (_, index) => log.record(entry(round * 10 + index)));
  const seqs = await Promise.all(group);
  writeSync(1, seqs.map((seq, index) => `entry ${seq} ${round * 10 + index}\n`).join(""));
}
