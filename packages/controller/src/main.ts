import { readFileSync, writeSync } from "node:fs";
import { userInfo } from "node:os";
import { errorInfo, openNotices } from "@belay/shared";
import { Command } from "commander";
import { pino } from "pino";
import { readConfig } from "./config.js";
import { startDaemon } from "./daemon.js";
import { openLog } from "./log.js";
import { raiseFence } from "./raise-fence.js";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

// Plans, tokens and what hosts report are nobody else's business on this machine.
process.umask(0o077);

const program = new Command("belayd")
  .description("Belay's controller: plans, gates and runs upgrades of a fleet.")
  .version(version)
  .option("-c, --config <file>", "its configuration", "/etc/belay/belayd.yaml")
  .addHelpText("after", "\nThe first start makes <dataDir>/api-token, which `belay` needs (BELAY_TOKEN_FILE).")
  .action(async (options: { config: string }) => {
    const config = await readConfig(options.config);
    const log = openLog(config.logLevel, pino.destination({ dest: 2, sync: true }));
    const daemon = await startDaemon(config, log, Date.now, version);
    log.info({ address: daemon.address, tlsAddress: daemon.tlsAddress, version }, "belayd is up");
    const notices = openNotices({
      env: process.env,
      write: writeSync,
      every: (ms, fire) => {
        const handle = setInterval(fire, ms);
        return () => clearInterval(handle);
      },
      // That its event loop turns is all there is to say: what a hung disk holds up, runs and requests show.
      alive: async () => {},
    });
    notices.ready();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.once(signal, () => {
        notices.stopping();
        log.info({ signal }, "stopping; runs stay where they are and go on at the next start");
        daemon.stop().then(
          () => process.exit(0),
          (error: unknown) => {
            log.error({ err: error }, "could not stop cleanly");
            process.exit(1);
          },
        );
      });
    }
  });

program
  .command("check-config")
  .description("read the configuration, say what is wrong with it, start nothing")
  .action(async () => {
    const config = await readConfig(program.opts<{ config: string }>().config);
    process.stdout.write(`${JSON.stringify(config, null, 2)}\n`);
  });

program
  .command("raise-fence")
  .description(
    "let this belayd lead again after hosts have met another; only where no other is left. See docs/audit.md.",
  )
  .requiredOption("--above <number>", "the number that hosts know, as belayd's log says it")
  .requiredOption("--reason <text>", "why, for the audit log")
  .action(async ({ above, reason }: { above: string; reason: string }) => {
    const config = await readConfig(program.opts<{ config: string }>().config);
    const log = openLog(config.logLevel, pino.destination({ dest: 2, sync: true }));
    const newest = await raiseFence(config, { above: Number(above), reason, by: userInfo().username }, log);
    process.stdout.write(`leases above ${newest} from now on; start belayd\n`);
  });

program.parseAsync().catch((thrown: unknown) => {
  const error = errorInfo(thrown);
  process.stderr.write(`error[${error.code}]: ${error.message}\n`);
  if (error.hint !== undefined) process.stderr.write(`hint: ${error.hint}\n`);
  if (process.env.BELAY_DEBUG === "1") process.stderr.write(`${(thrown as Error).stack}\n`);
  // What a failed start had made already (timers, the lock on the folder) must not keep a belayd alive that does nothing.
  process.exit(1);
});
