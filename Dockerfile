# The server as an image with nothing in it but the binary. `docker build -t ayder .`
#
# io_uring is not in the system calls that container engines allow by default; the server then says so once and serves
# through epoll. deploy/seccomp.json allows it: docker run --security-opt seccomp=deploy/seccomp.json …

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG REVISION=
RUN make build VERSION="$VERSION" REVISION="$REVISION" && mkdir -p /image/data /image/tmp && chmod 1777 /image/tmp && cp bin/ayder /image/ayder

# Makes the certificates that the nodes of a cluster show each other; deploy/compose-cluster.yml runs it first.
FROM build AS certs
RUN CGO_ENABLED=0 go build -trimpath -o /certs ./tools/certs && mkdir /run/certs && chown 65532:65532 /run/certs
USER 65532:65532
VOLUME /run/certs
ENTRYPOINT ["/certs", "-dir", "/run/certs"]

FROM scratch
COPY --from=build --chown=65532:65532 /image/ /
USER 65532:65532
ENV AYDER_LISTEN=:1109 AYDER_DATA_DIR=/data
VOLUME /data
EXPOSE 1109
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/ayder", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/ayder"]
CMD ["serve"]
