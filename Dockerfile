# docker build -t workernode .
# docker run -d --network host -e PULSAR_URL=pulsar://localhost:6650 -e PORT=8081 workernode
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirement.txt ./
RUN python -m venv /opt/agentos && /opt/agentos/bin/pip install --no-cache-dir --quiet -r requirement.txt
COPY . ./
RUN /opt/agentos/bin/pip install --no-cache-dir --quiet --no-deps .

FROM python:3.11-slim
# llama.cpp's threads.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 --user-group agentos
COPY --from=build /opt/agentos /opt/agentos
COPY WorkerNode.py /app/
ENV PATH=/opt/agentos/bin:$PATH
ENV PYTHONUNBUFFERED=1
ENV PORT=8081
ENV AGENTOS_HOME=/home/agentos/state
# The gateway asks nobody for credentials, so it listens on loopback alone, which is the host's with --network host.
# With a network of its own: docker run -p 127.0.0.1:8081:8081 -e AGENTOS_HOST=0.0.0.0 ...
EXPOSE 8081
# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
WORKDIR /app
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=2)"]
CMD ["python", "WorkerNode.py"]
