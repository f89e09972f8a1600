import S3rver from "@20minutes/s3rver";

// An S3 server on disk: `node s3-server.mjs DIR BUCKET`. Says where it listens, and serves until it is killed.
const [directory, bucket] = process.argv.slice(2);
const server = new S3rver({
  directory,
  address: "127.0.0.1",
  port: 0,
  silent: true,
  vhostBuckets: false,
  configureBuckets: [{ name: bucket, configs: [] }],
});
const { port } = await server.run();
process.stdout.write(`http://127.0.0.1:${port}\n`);
