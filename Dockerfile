# The service only: no torch, no solver, no compiler. Build from the repository's root.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY simulator simulator
COPY service service
COPY orpr orpr
RUN python -m venv /opt/orpr \
 && /opt/orpr/bin/pip install --no-cache-dir --constraint constraints.txt .

# What deploy/promotions.sh runs in: docker build --target training -t orpr-training .
FROM build AS training
COPY solver solver
COPY training training
RUN /opt/orpr/bin/pip install --no-cache-dir --constraint constraints.txt '.[train]'
COPY deploy/promotions.sh /opt/orpr/deploy/promotions.sh
RUN useradd --create-home --uid 10001 orpr
USER orpr
WORKDIR /home/orpr
ENV PATH=/opt/orpr/bin:$PATH PYTHONUNBUFFERED=1
CMD ["/opt/orpr/deploy/promotions.sh"]

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 orpr && install -d -o orpr -g orpr /home/orpr/.orpr
COPY --from=build /opt/orpr /opt/orpr
USER orpr
WORKDIR /home/orpr
ENV PATH=/opt/orpr/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
# Starts only where ORPR_TRANSPORT says how requests come: plain where the port is published to this machine only, else tls.
CMD ["orpr", "demo", "--host", "0.0.0.0"]
