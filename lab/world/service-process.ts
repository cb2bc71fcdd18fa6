/** Runs the service as it is, and ends it with the lab. */
process.on('disconnect', () => process.exit());
process.channel?.unref();
await import('../../src/main.js');
