# Two images from one build: the server, and Envoy with its configuration and the contract it translates.
#
#   docker build --target server --tag capecontrol .
#   docker build --target edge --tag capecontrol-edge .
#
# `make image-stages` runs what the first stage does without Docker.

FROM rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS build
WORKDIR /build

# The dependencies by themselves, so that this layer is made again only when they change: the crate is empty as yet.
# The other member of the workspace is not built here, but cargo wants to see it.
COPY Cargo.toml Cargo.lock ./
COPY clients/rust/Cargo.toml clients/rust/
RUN mkdir src clients/rust/src \
    && echo 'fn main() {}' >build.rs \
    && cp build.rs src/main.rs \
    && touch src/lib.rs clients/rust/src/lib.rs \
    && cargo build --release --locked --bin capecontrol

COPY build.rs ./
COPY proto proto
COPY third_party third_party
COPY migrations migrations
COPY assets assets
COPY src src
# What came with the sources is older than what was just built, and would not be looked at.
RUN touch build.rs src/lib.rs src/main.rs \
    && cargo build --release --locked --bin capecontrol \
    && mkdir -p out/data \
    && cp target/release/capecontrol out/capecontrol \
    && out/capecontrol descriptors >out/descriptors.binpb


FROM gcr.io/distroless/cc-debian12:nonroot@sha256:66aa873a4a14fb164aa01296058efd8253744606d72715e45acface073359faa AS server
LABEL org.opencontainers.image.title="CapeControl" \
      org.opencontainers.image.description="Real-time AI agents, South African payments and an agent marketplace" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /build/out/capecontrol /usr/local/bin/capecontrol
COPY --from=build --chown=65532:65532 /build/out/data /data
ENV CAPECONTROL_DATA_DIR=/data \
    CAPECONTROL_SERVER__LISTEN=0.0.0.0:8080 \
    CAPECONTROL_LOG__FORMAT=json
# The only folder that is written to.
VOLUME ["/data"]
WORKDIR /data
USER 65532:65532
EXPOSE 8080
# SIGTERM begins the drain; give it SERVER__DRAIN_SECONDS and a few more.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 \
    CMD ["/usr/local/bin/capecontrol", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/capecontrol"]
CMD ["serve"]


# By tag: nobody here could look its digest up.
FROM envoyproxy/envoy:v1.40.0 AS edge
LABEL org.opencontainers.image.title="CapeControl edge" \
      org.opencontainers.image.description="Envoy in front of CapeControl" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY envoy/envoy.yaml /opt/capecontrol/envoy/envoy.yaml
COPY scripts/envoy /opt/capecontrol/scripts/envoy
COPY --from=build /build/out/descriptors.binpb /opt/capecontrol/descriptors.binpb
ENV EDGE_LISTEN=0.0.0.0:8000 \
    EDGE_UPSTREAM=capecontrol:8080 \
    EDGE_DESCRIPTORS=/opt/capecontrol/descriptors.binpb \
    EDGE_FOLDER=/run/edge
# EDGE_FOLDER holds the configuration as it is run, and the admin socket: give it a tmpfs that uid 65532 can write.
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 \
    CMD ["/opt/capecontrol/scripts/envoy", "health"]
ENTRYPOINT ["/opt/capecontrol/scripts/envoy"]
CMD ["run"]
