# See docs/deploy-container.md.
FROM python:3.12-slim-bookworm

RUN useradd --uid 10001 --create-home polyp && install -d -o polyp -g polyp /workspace
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .

# In a container 127.0.0.1 is the container itself: which addresses of the computer reach it says
# --publish. POLYP_DEMO=1 makes a shared demo; without it whoever gets in may do everything.
ENV POLYP_DEMO=0 \
    POLYP_WORKSPACE=/workspace \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0
USER 10001
VOLUME /workspace
EXPOSE 8501
HEALTHCHECK --start-period=30s --timeout=5s CMD ["python", "-c", "import urllib.request as request; request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["streamlit", "run", "app.py"]
