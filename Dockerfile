# docker build -t gfrnn .
# docker run --rm -v "$PWD":/work gfrnn run my.yaml
FROM debian:trixie-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN python3 -m venv /opt/gfrnn \
    && /opt/gfrnn/bin/pip install --no-cache-dir '/source[hpc]'

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/gfrnn /opt/gfrnn
# One thread of BLAS for each task; Dask's workers are the parallel ones.
ENV PATH=/opt/gfrnn/bin:$PATH OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
WORKDIR /work
ENTRYPOINT ["gfrnn"]
