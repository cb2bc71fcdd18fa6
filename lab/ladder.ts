import { findScenarios } from './scenarios/find-scenarios.js';
import { findImplementations } from './world/implementations.js';
import { World } from './world/world.js';

const [implementations, scenarios] = await Promise.all([findImplementations(), findScenarios()]);
const world = await World.start({ leaseSeconds: 2 });
for (const implementation of implementations) {
  await world.use(implementation);
  for (const scenario of scenarios) {
    await world.reset();
    const verdict = await scenario.play(world);
    process.stdout.write(`${implementation.label} ${scenario.name}: ${verdict.sentence}\n`);
  }
}
await world.end();
