defmodule ErlangPython.Env.RequirementsFileTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Env.RequirementsFile

  @moduletag :tmp_dir

  defp write(folder, name, text) do
    path = Path.join(folder, name)
    File.mkdir_p!(Path.dirname(path))
    File.write!(path, text)
    path
  end

  test "has the texts of all that it names, however that is written", %{tmp_dir: folder} do
    lines = [
      "-r a.txt",
      "-rb.txt  # without a space",
      "--requirement=sub/c.txt",
      "  --constraint d.txt\r",
      "-c e.txt"
    ]

    for name <- ~w(a b d e), do: write(folder, "#{name}.txt", name)
    # From where it lies.
    write(folder, "sub/c.txt", "-r f.txt")
    write(folder, "sub/f.txt", "f")
    text = Enum.join(lines, "\n")
    path = write(folder, "requirements.txt", text)
    assert RequirementsFile.read(path) == {:ok, [text, "a", "b", "-r f.txt", "f", "d", "e"]}
  end

  test "has each text once, also of files that name each other", %{tmp_dir: folder} do
    one = write(folder, "one.txt", "-r two.txt")
    write(folder, "two.txt", "-r one.txt\n-r two.txt\n-r ./one.txt")
    assert {:ok, ["-r two.txt", "-r one.txt" <> _rest]} = RequirementsFile.read(one)
  end

  test "leaves to the installer what is no file here", %{tmp_dir: folder} do
    text = """
    # -r none.txt
    -r https://example.org/none.txt
    -c ${SOMEWHERE}/none.txt
    --require-hashes
    six  # -r none.txt
    """

    path = write(folder, "requirements.txt", text)
    assert RequirementsFile.read(path) == {:ok, [text]}
  end

  test "says which one can't be read", %{tmp_dir: folder} do
    path = write(folder, "requirements.txt", "-r sub/none.txt")
    assert {:error, error} = RequirementsFile.read(path)
    assert error.message == "cannot read #{folder}/sub/none.txt: no such file or directory"
  end

  test "knows where a place on this machine is named" do
    for text <- ["./local", "six\n-e .", "../other", "x @ file:///srv/x.whl", "-f wheels"],
        do: assert(RequirementsFile.paths?(text), text)

    for text <- ["six==1.0", "-r a.txt", "x @ https://example.org/x.whl", "--hash=sha256:0"],
        do: refute(RequirementsFile.paths?(text), text)
  end
end
