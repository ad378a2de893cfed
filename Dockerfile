# One image for the three services of docker-compose.yml: doc/CONTAINERS.md. The base has its name here
# and no variable: Balena's builder looks it up, to ask for a device's own architecture.
FROM debian:bookworm-slim AS build
WORKDIR /source
COPY scripts/deps scripts/
RUN scripts/deps build
COPY . .
RUN meson setup build --prefix=/usr --buildtype=release \
    && ninja -C build cli/danemsg \
    && install -D -s build/cli/danemsg /out/usr/bin/danemsg \
    && DESTDIR=/out meson install -C build --no-rebuild --tags poc-names \
    && install -D containers/start /out/usr/libexec/danemsg-start

FROM debian:bookworm-slim
# Loaded when they are wanted: libcurl (5 MB with what it needs) for usage 4 and PowerDNS's API, libpq
# (half a MB more) for `receive --store postgresql://...`.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates dns-root-data libcurl4 libldns3 libmosquitto1 libpq5 libseccomp2 \
        libsqlite3-0 libssl3 libsystemd0 libunbound8 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* \
    && useradd --uid 1001 --no-create-home --home-dir /state --shell /bin/sh messaging \
    && install -d -m 700 -o 1001 -g 1001 /identity /state
COPY --from=build /out/ /
ENV CRYPTO_PATH=/identity/ DANEMSG_STATE=/state APP_UID=1001
# The proof of concept's names, as ./create_selfsigned_id.py and so on.
WORKDIR /usr/libexec/danemsg
USER 1001:1001
ENTRYPOINT ["/usr/libexec/danemsg-start"]
CMD ["idle"]
