defmodule ErlangPython.ZMTP.SocketDir do
  @moduledoc false
  # The directory of one router's unix socket. gen_tcp makes the socket itself mode 0755, so
  # this directory's 0700 is what keeps other users out. Its name carries the OS pid of its
  # BEAM, so that a later start can sweep what a killed BEAM left.

  alias ErlangPython.ZMTP.SocketDir

  @enforce_keys [:path, :socket_path, :uid]
  defstruct [:path, :socket_path, :uid]

  @type t :: %SocketDir{path: Path.t(), socket_path: Path.t(), uid: non_neg_integer()}

  @prefix "erlang_python"
  @socket "zmq"

  @doc """
  Makes a fresh directory under `base`, or, given `nil`, under the system's temporary
  directory if that is short enough, else `/tmp`; sweeps `base` of dead BEAMs' directories.
  """
  @spec create(Path.t() | nil) :: {:ok, t()} | {:error, String.t()}
  def create(base \\ nil) do
    name = "#{@prefix}.#{System.pid()}.#{random()}"
    bases = if base, do: [base], else: Enum.uniq([System.tmp_dir() || "/tmp", "/tmp"])

    case Enum.find(bases, &fits?(&1, name)) do
      nil -> {:error, too_long(List.last(bases), name)}
      base -> make(base, name)
    end
  end

  @doc "Makes it again where it was; what is left of it goes."
  @spec remake(t()) :: {:ok, t()} | {:error, String.t()}
  def remake(%SocketDir{path: path} = dir) do
    remove(dir)
    make(Path.dirname(path), Path.basename(path))
  end

  @spec remove(t()) :: :ok
  def remove(%SocketDir{path: path}) do
    _ = File.rm_rf(path)
    :ok
  end

  @doc "The longest path a unix socket may have here: `sun_path` less its final zero."
  @spec max_path() :: pos_integer()
  def max_path, do: if(:os.type() == {:unix, :linux}, do: 107, else: 103)

  defp fits?(base, name), do: byte_size(socket_path(base, name)) <= max_path()

  defp socket_path(base, name), do: Path.join([base, name, @socket])

  defp too_long(base, name) do
    path = socket_path(base, name)

    "a unix socket's path may have #{max_path()} bytes here, #{path} has #{byte_size(path)}: " <>
      "choose a shorter directory"
  end

  defp random, do: Base.encode32(:crypto.strong_rand_bytes(5), case: :lower)

  defp make(base, name) do
    path = Path.join(base, name)

    # mkdir fails on anything that is there already, links included.
    with :ok <- File.mkdir(path),
         :ok <- File.chmod(path, 0o700),
         {:ok, %File.Stat{type: :directory, uid: uid}} <- File.lstat(path) do
      sweep(base, uid)
      {:ok, %SocketDir{path: path, socket_path: socket_path(base, name), uid: uid}}
    else
      {:error, reason} ->
        {:error, "cannot make the directory #{path}: #{:file.format_error(reason)}"}
    end
  end

  defp sweep(base, uid) do
    with {:ok, names} <- File.ls(base) do
      for name <- names, dead?(base, name, uid), do: File.rm_rf(Path.join(base, name))
    end
  end

  # A BEAM in another pid namespace may share `base`: its pid looks dead, its socket answers.
  defp dead?(base, name, uid) do
    with [@prefix, pid, _random] <- String.split(name, "."),
         {pid, ""} when pid > 0 <- Integer.parse(pid),
         {:ok, %File.Stat{type: :directory, uid: ^uid}} <- File.lstat(Path.join(base, name)) do
      not os_process?(pid) and not answers?(socket_path(base, name))
    else
      _not_ours -> false
    end
  end

  defp os_process?(pid) do
    if File.dir?("/proc/self"),
      do: File.dir?("/proc/#{pid}"),
      else:
        match?({_, 0}, System.cmd("/bin/sh", ["-c", "kill -0 #{pid}"], stderr_to_stdout: true))
  end

  defp answers?(socket_path) do
    case :gen_tcp.connect({:local, socket_path}, 0, [:binary, active: false], 1_000) do
      {:ok, socket} -> :gen_tcp.close(socket) == :ok
      {:error, reason} -> reason not in [:econnrefused, :enoent, :enotsock]
    end
  end
end
