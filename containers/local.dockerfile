# The servers of compose.local.yml: a broker, and a name server with a signed zone.
FROM debian:bookworm-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends knot mosquitto \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && install -d -m 700 -o 1001 -g 1001 /zone
COPY containers/local /usr/libexec/danemsg-local
USER 1001:1001
ENTRYPOINT ["/usr/libexec/danemsg-local"]
