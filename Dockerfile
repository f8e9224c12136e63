# Three images on the distribution that the tests run on, so that what is tested is what ships:
#   db     PostgreSQL 15 + PostGIS 3.3      app    the server      proxy  nginx, TLS, slow clients
# None runs as root, none holds a secret. docker-compose.yml puts them together; deploy/README.md says how to run them.

FROM debian:bookworm-slim AS ground
# Numbers of our own, made before any package makes users: files in volumes outlive images, and the numbers that
# packages hand out change with what else is installed. The group shares the one secret that db and app both need.
RUN groupadd --gid 10001 jingwei \
    && useradd --uid 10001 --gid jingwei --no-create-home --home-dir /var/lib/jingwei --shell /usr/sbin/nologin jingwei
ENV LANG=C.UTF-8 LC_ALL=C.UTF-8


FROM ground AS db
RUN groupadd --gid 10002 postgres \
    && useradd --uid 10002 --gid postgres --groups jingwei --no-create-home --home-dir /var/lib/postgresql \
        --shell /bin/sh postgres \
    && apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql-common \
    # The package would make a cluster in the image; ours is made in the volume.
    && echo "create_main_cluster = false" >>/etc/postgresql-common/createcluster.conf \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        postgresql-15 postgresql-15-postgis-3 \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/db/start deploy/db/healthy /usr/local/bin/
COPY deploy/db/postgresql.conf deploy/db/pg_hba.conf deploy/db/pg_ident.conf /etc/jingwei/
RUN install -d -o postgres -g postgres -m 0700 /var/lib/postgresql \
    && install -d -o postgres -g jingwei -m 0750 /var/lib/jingwei-secrets
ENV PATH=/usr/lib/postgresql/15/bin:$PATH
USER postgres
EXPOSE 5432
# Sessions end and everything is written: what PostgreSQL calls a fast shutdown.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["healthy"]
CMD ["start"]


FROM ground AS wheels
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends make python3 python3-venv
WORKDIR /opt/jingwei
COPY Makefile requirements.lock ./
# The recipe of a checkout, without its step that installs system packages: it needs what is installed above.
RUN PIP_NO_CACHE_DIR=1 make --old-file=system .venv/.ready


FROM ground AS assets
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ca-certificates make nodejs npm
WORKDIR /opt/jingwei
COPY Makefile package.json package-lock.json .npmrc ./
RUN make --old-file=system maps/assets/vendor/.ready


FROM ground AS app
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3 libarchive13 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/jingwei
COPY --from=wheels /opt/jingwei/.venv .venv
COPY LICENSE pyproject.toml ./
COPY data/codes data/codes
COPY data/sample data/sample
COPY geo geo
COPY maps maps
COPY api api
COPY --from=assets /opt/jingwei/maps/assets/vendor maps/assets/vendor
COPY deploy/app/start deploy/app/healthy /usr/local/bin/
RUN .venv/bin/python -m compileall -q geo maps api \
    && install -d -o jingwei -g jingwei -m 0700 /var/lib/jingwei
ENV PATH=/opt/jingwei/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    JINGWEI_HOME=/var/lib/jingwei JINGWEI_HOST=0.0.0.0 JINGWEI_PORT=8000
USER jingwei
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=10s --start-period=300s CMD ["healthy"]
CMD ["start"]


FROM ground AS proxy
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nginx-light openssl \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/proxy/start deploy/proxy/healthy /usr/local/bin/
COPY deploy/proxy/nginx.conf /etc/nginx/nginx.conf
RUN install -d -o www-data -g www-data -m 0700 /var/lib/jingwei-tls
USER www-data
EXPOSE 8080 8443
# Answers that have begun are finished.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["healthy"]
CMD ["start"]
